"""`gateway limits granted` where the listener does not tell of all overrides."""

from tests.cli.admin import answering
from tests.cli.command import gateway

GRANTED = {"name": "l", "key": "acme", "limit": 7, "instead_of": 5, "ends_in_s": 60, "reason": "x"}


def test_that_there_are_others_is_said() -> None:
    for more, last in ((1_200, "and 1,200 more"), (0, "l acme 7 5 60 x")):
        with answering({"GET": {"overrides": [GRANTED], "more": more}}) as server:
            done = gateway("limits", "granted", "--admin", f"127.0.0.1:{server.server_address[1]}")
        assert " ".join(done.stdout.splitlines()[-1].split()) == last
