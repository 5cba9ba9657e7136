"""`gateway cache` when a worker does not answer: what the others say is shown, and who is missing."""

import json
from collections.abc import Iterator

import pytest

from tests.cli.admin import answering
from tests.cli.command import gateway

MISSING = [{"worker": 1, "reason": "no answer in 2 s"}]
SHOWN = {"routes": [], "missing": MISSING}
PURGED = {"purged": {"workers": 1, "store": 2}, "missing": MISSING}


@pytest.fixture
def admin() -> Iterator[str]:
    """Of its two workers one does not answer."""
    with answering({"GET": SHOWN, "DELETE": PURGED}) as server:
        yield f"127.0.0.1:{server.server_address[1]}"


@pytest.mark.parametrize(("words", "exit_code"), [(("show",), 0), (("purge", "--all"), 1)], ids=["show", "purge"])
@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
def test_a_worker_that_does_not_answer(
    admin: str, words: tuple[str, ...], exit_code: int, form: tuple[str, ...]
) -> None:
    """What is shown of the others is an answer, as `gateway status` has it; a purge of some is not what was asked for."""
    done = gateway("cache", *words, *form, "--admin", admin)
    assert (done.returncode, done.stderr) == (exit_code, "worker 1: no answer in 2 s\n")
    if form:
        assert json.loads(done.stdout) == (SHOWN if words == ("show",) else PURGED)
    elif words == ("show",):
        assert done.stdout == "no route has a cache\n"
