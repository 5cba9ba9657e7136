"""An admin listener that says what it is told to, for what no real one can be made to say."""

import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Callers may hang up in the handshake."""


def _handler(documents: Mapping[str, object], status: int) -> type[BaseHTTPRequestHandler]:
    class Admin(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(documents["GET"])

        def do_DELETE(self) -> None:
            self._answer(documents["DELETE"])

        def do_POST(self) -> None:
            self._answer(documents["POST"])

        def _answer(self, document: object) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_request(self, code: object = "-", size: object = "-") -> None:
            """Silent."""

    return Admin


@contextmanager
def answering(
    documents: Mapping[str, object], tls: ssl.SSLContext | None = None, status: int = 200
) -> Iterator[ThreadingHTTPServer]:
    """Answers every request with the document of its method, whatever the path."""
    with _Server(("127.0.0.1", 0), _handler(documents, status)) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
