"""`gateway cache` when a worker does not answer: what the others say is shown, and the exit code tells."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.cli.command import gateway

MISSING = [{"worker": 1, "reason": "no answer in 2 s"}]
SHOWN = {"routes": [], "missing": MISSING}
PURGED = {"purged": {"workers": 1, "store": 2}, "missing": MISSING}


class Admin(BaseHTTPRequestHandler):
    """Of its two workers one does not answer."""

    def do_GET(self) -> None:
        self._answer(SHOWN)

    def do_DELETE(self) -> None:
        self._answer(PURGED)

    def _answer(self, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Silent."""


@pytest.fixture
def admin() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Admin) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("words", [("show",), ("purge", "--all")], ids=lambda words: words[0])
@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
def test_a_worker_that_does_not_answer(admin: str, words: tuple[str, ...], form: tuple[str, ...]) -> None:
    done = gateway("cache", *words, *form, "--admin", admin)
    assert (done.returncode, done.stderr) == (1, "worker 1: no answer in 2 s\n")
    if form:
        assert json.loads(done.stdout) == (SHOWN if words == ("show",) else PURGED)
