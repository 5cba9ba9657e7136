"""What is switched in every worker, while one does not answer: it is said who, and that not everything was done."""

import pytest

from tests.cli.admin import answering
from tests.cli.command import gateway

SWITCHED = {"before": {}, "after": {}, "workers": 2, "missing": [{"worker": 1, "reason": "no answer in time"}]}
HELD = {
    "before": {},
    "after": {"name": "own", "workers": [{"worker": 0}, {"worker": 1, "missing": "no answer in time"}]},
}


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
@pytest.mark.parametrize(
    ("words", "answer"),
    [(("drain",), SWITCHED), (("drain", "--end"), SWITCHED), (("breaker", "open", "own", "c1"), HELD)],
    ids=["drain", "ready", "breaker"],
)
def test_a_worker_that_has_not_heard(words: tuple[str, ...], answer: object, form: tuple[str, ...]) -> None:
    with answering({"POST": answer, "DELETE": answer}) as server:
        done = gateway(*words, *form, "--admin", f"127.0.0.1:{server.server_address[1]}")
    assert (done.returncode, done.stderr) == (1, "worker 1: no answer in time\n")
    assert done.stdout
