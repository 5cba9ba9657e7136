"""`gateway cache` when a worker does not answer: what the others say is shown, and the exit code tells."""

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


@pytest.mark.parametrize("words", [("show",), ("purge", "--all")], ids=lambda words: words[0])
@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
def test_a_worker_that_does_not_answer(admin: str, words: tuple[str, ...], form: tuple[str, ...]) -> None:
    done = gateway("cache", *words, *form, "--admin", admin)
    assert (done.returncode, done.stderr) == (1, "worker 1: no answer in 2 s\n")
    if form:
        assert json.loads(done.stdout) == (SHOWN if words == ("show",) else PURGED)
