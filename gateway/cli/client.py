"""Calls to the admin API of a running gateway, with every way they fail told as one line and an exit code."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from gateway.cli.failing import FAILED, UNREACHABLE, fail
from gateway.cli.table import plain

if TYPE_CHECKING:
    from http.client import HTTPConnection, HTTPResponse

JSON = "application/json"
MOST_BYTES = 64 * 1024 * 1024
TIMEOUT_S = 10.0


class AdminClient:
    """Asks one gateway. Address and token come from `admin` (an address), the environment or the settings.

    Every method ends the command when there is no answer (exit code 3) or the answer is no (1).
    """

    def __init__(self, config: Path | None, env_file: Path | None, admin: str, timeout_s: float = TIMEOUT_S) -> None:
        from gateway.cli.loading import read_settings

        settings = read_settings(config, env_file, {"admin": admin} if admin else {})
        if settings.admin is None:
            fail(FAILED, "there is no admin listener: the settings say `admin: off`")
        self._listen = settings.admin
        self._token = settings.admin_token
        self._timeout_s = timeout_s

    def get(self, path: str, *needs: str) -> Any:
        """The JSON document at this path. needs: members without which it is not what it should be."""
        return self._ask("GET", path, needs=needs)

    def post(self, path: str, document: Any, *needs: str) -> Any:
        """What the gateway answers to an order; `needs` as for `get`."""
        return self._ask("POST", path, document, needs=needs)

    def post_yaml(self, path: str, document: Any) -> Any:
        """What the gateway says to a policy file."""
        return self._ask("POST", path, document, "application/yaml", ("valid", "errors", "diff"))

    def put(self, path: str, document: Any, *needs: str) -> Any:
        """As `post`."""
        return self._ask("PUT", path, document, needs=needs)

    def delete(self, path: str, *needs: str) -> Any:
        """As `post`."""
        return self._ask("DELETE", path, needs=needs)

    def events(self, path: str) -> Iterator[Any]:
        """The `data` of each event of a stream (WHATWG HTML §9.2.6) as JSON. A stream that ends is a failure (3)."""
        with self._answer("GET", path, None, stream=True) as answer:
            if answer.getheader("Content-Type", "").partition(";")[0] != "text/event-stream":
                self._stranger()
            for line in answer:
                if line.startswith(b"data:"):
                    yield self._document(line[5:])
        fail(UNREACHABLE, f"the gateway at {self._listen} has ended the stream")

    def _ask(self, method: str, path: str, document: Any = None, kind: str = JSON, needs: Sequence[str] = ()) -> Any:
        with self._answer(method, path, document, kind) as answer:
            found = self._document(answer.read(MOST_BYTES))
        return found if all(name in found for name in needs) else self._stranger()

    def _document(self, text: bytes) -> Any:
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        return found if isinstance(found, dict) else self._stranger()

    def _stranger(self) -> NoReturn:
        fail(UNREACHABLE, f"what answers at {self._listen} is no admin listener of this version")

    @contextmanager
    def _answer(
        self, method: str, path: str, document: Any, kind: str = JSON, *, stream: bool = False
    ) -> "Iterator[HTTPResponse]":
        from http.client import HTTPException

        connection, answer = self._connection(), None
        try:
            connection.request(method, path, *self._said(method, document, kind))
            sock = connection.sock
            answer = connection.getresponse()
            if answer.status >= 400:
                self._refused(answer)
            if stream:
                sock.settimeout(None)  # a quiet gateway is none that is gone
            yield answer
        except (OSError, HTTPException) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            fail(UNREACHABLE, f"no answer from the admin listener at {self._listen}: {plain(reason)}")
        finally:
            if answer is not None:
                answer.close()
            connection.close()

    def _said(self, method: str, document: Any, kind: str) -> tuple[bytes | None, dict[str, str]]:
        fields = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        if method in ("GET", "DELETE"):
            return None, fields
        body = json.dumps(document if document is not None else {}).encode()
        return body, {**fields, "Content-Type": kind}

    def _connection(self) -> "HTTPConnection":
        import ssl
        from http.client import HTTPConnection, HTTPSConnection

        listen = self._listen
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listen.host, listen.host)  # noqa: S104 - asked for, not bound
        if listen.tls:  # its own listener, reached by address: there is no name to check
            context = ssl._create_unverified_context()  # noqa: S323
            return HTTPSConnection(host, listen.port, timeout=self._timeout_s, context=context)
        return HTTPConnection(host, listen.port, timeout=self._timeout_s)

    def _refused(self, answer: "HTTPResponse") -> None:
        """Tell why the gateway does not do it: problem+json (RFC 9457) has a `detail`."""
        text = answer.read(64 * 1024).decode("utf-8", "replace")
        try:
            problem = json.loads(text)
            reason = problem.get("detail") or problem.get("title") or text
            more = [str(error.get("text", error)) for error in problem.get("errors", ())]
        except (ValueError, AttributeError):
            reason, more = text.strip()[:200] or answer.reason, []
        fail(FAILED, f"the gateway at {self._listen} answers {answer.status}: {plain(str(reason))}", *map(plain, more))
