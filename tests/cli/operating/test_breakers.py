"""`gateway breaker show` where the listener does not tell of all that are not closed."""

from tests.cli.admin import answering
from tests.cli.command import gateway

OPEN = {"breaker": "b", "key": "c0", "state": "open", "reason": "forced", "next_probe_s": 9}
FOUND = {"breakers": [{"name": "b", "key": ["c"], "scope": "shared", "source": "p.yaml:1"}], "not_closed": [OPEN]}


def test_that_there_are_others_is_said() -> None:
    with answering({"GET": {**FOUND, "more": True}}) as server:
        done = gateway("breaker", "show", "--admin", f"127.0.0.1:{server.server_address[1]}")
    assert done.stdout.splitlines()[-1].startswith("and others")
    with answering({"GET": {**FOUND, "more": False}}) as server:
        done = gateway("breaker", "show", "--admin", f"127.0.0.1:{server.server_address[1]}")
    assert done.stdout.splitlines()[-1].split() == ["b", "c0", "open", "forced", "9"]
