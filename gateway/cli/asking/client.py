"""Calls to the admin API of a running gateway, with every way they fail told as one line and an exit code."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote, urlencode

from gateway.cli.asking.reach import Reach
from gateway.cli.command.failing import FAILED, UNREACHABLE, fail
from gateway.cli.showing.text import plain
from gateway.core.http.content_types import is_event_stream

if TYPE_CHECKING:
    from http.client import HTTPResponse

JSON = "application/json"
MOST_BYTES = 64 * 1024 * 1024
TIMEOUT_S = 10.0
_HINTS = {
    "NO_SUCH_LIMIT": "`gateway limits show` lists them.",
    "NO_SUCH_BREAKER": "`gateway breaker show` lists them.",
    "NO_SUCH_RECEIVER": "`gateway webhooks list` lists them.",
    "QUEUE_FULL": "`gateway webhooks list` shows what waits.",
    "NO_SUCH_WEBHOOK": "`gateway webhooks list RECEIVER` shows the last of them.",
    "NO_SUCH_UPSTREAM": "`--upstream NAME` says which one.",
    "SEVERAL_UPSTREAMS": "`--upstream NAME` says which one.",
    "NO_SUCH_CONNECTION": "`gateway connections` lists them.",
    "TOKEN_REQUIRED": "Name it in the settings (-c FILE) or by GATEWAY_ADMIN_TOKEN=env:NAME.",
}
"""What helps here with a problem of this code."""
_STORE_AWAY = "STORE_UNAVAILABLE"
"""The problem of what needs the store, which does not answer: asked again later, it may."""


def with_hint(said: str, problem: Mapping[str, Any]) -> str:
    """What a problem document (RFC 9457) says, and what helps here."""
    return f"{said} {_HINTS.get(str(problem.get('code')), '')}".strip()


def path_to(*words: str, **asked: str | None) -> str:
    """The path of an operation of the admin API: these words below `/-/`, each as one segment, and what is asked behind
    a `?`; None is left out."""
    path = "/-/" + "/".join(quote(word, safe="", errors="surrogateescape") for word in words)
    given = {name: value for name, value in asked.items() if value is not None}
    return f"{path}?{urlencode(given, errors='surrogateescape')}" if given else path


class AdminClient:
    """Asks the admin API of one gateway.

    Every method ends the command when there is no answer from it, or none from the store behind it (exit code 3), or
    the answer is no (1); or does what `fail` does instead, which is given the exit code and lines about it, and must
    not return.
    """

    def __init__(self, reach: Reach, timeout_s: float = TIMEOUT_S, fail: Callable[..., NoReturn] = fail) -> None:
        self.reach = reach
        self._fail = fail
        self._timeout_s = timeout_s

    def get(self, path: str, *needs: str) -> Any:
        """The JSON document at this path. needs: members without which it is not what it should be."""
        return self._ask("GET", path, needs=needs)

    def post(self, path: str, document: Any, *needs: str) -> Any:
        """What the gateway answers to an order; `needs` as for `get`."""
        return self._ask("POST", path, document, needs=needs)

    def post_yaml(self, path: str, document: Any) -> Any:
        """What the gateway says to a policy file."""
        return self._ask("POST", path, document, "application/yaml", needs=("valid", "errors"))

    def put(self, path: str, document: Any, *needs: str) -> Any:
        """As `post`."""
        return self._ask("PUT", path, document, needs=needs)

    def delete(self, path: str, *needs: str) -> Any:
        """As `post`."""
        return self._ask("DELETE", path, needs=needs)

    def events(self, path: str, begun: Callable[[], None]) -> Iterator[Any]:
        """The `data` of each event of a stream (WHATWG HTML §9.2.6) as JSON. A stream that ends is a failure (3).

        begun  told when there is one
        """
        with self._answer("GET", path, None, stream=True) as answer:
            if not is_event_stream(answer.getheader("Content-Type", "")):
                self.stranger()
            begun()
            for line in answer:
                if line.startswith(b"data:"):
                    yield self._document(line[5:])
        self._fail(UNREACHABLE, f"the gateway at {self.reach.listen} has ended the stream")

    def whatever(self, method: str, path: str, most_bytes: int) -> tuple[int, str]:
        """Status and beginning of the body, also when the answer is no."""
        with self._answer(method, path, None, refusals=False) as answer:
            return answer.status, answer.read(most_bytes).decode("utf-8", "replace").strip()

    def _ask(self, method: str, path: str, document: Any = None, kind: str = JSON, *, needs: Sequence[str]) -> Any:
        with self._answer(method, path, document, kind) as answer:
            found = self._document(answer.read(MOST_BYTES))
        return found if all(name in found for name in needs) else self.stranger()

    def _document(self, text: bytes) -> Any:
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        return found if isinstance(found, dict) else self.stranger()

    def stranger(self) -> NoReturn:
        """End the command: somebody has answered, but not as the admin listener does."""
        self._fail(
            UNREACHABLE, f"what answers at {self.reach.listen} is not the admin listener of a gateway of this version"
        )

    @contextmanager
    def _answer(
        self, method: str, path: str, document: Any, kind: str = JSON, *, stream: bool = False, refusals: bool = True
    ) -> "Iterator[HTTPResponse]":
        from http.client import HTTPException

        connection, answer = self.reach.connection(self._timeout_s), None
        try:
            connection.request(method, path, *self._said(method, document, kind))
            sock = connection.sock
            answer = connection.getresponse()
            if refusals and answer.status >= 400:
                self._refused(answer)
            if stream:
                sock.settimeout(None)  # a quiet gateway is none that is gone
            yield answer
        except (OSError, HTTPException) as error:
            nobody = isinstance(error, ConnectionRefusedError) and not self.reach.named
            hint = " (is the gateway running? --admin HOST:PORT asks elsewhere)" if nobody else ""
            text = f"no answer from the admin listener at {self.reach.listen}: {plain(self.reach.why(error))}{hint}"
            self._fail(UNREACHABLE, text)
        finally:
            if answer is not None:
                answer.close()
            connection.close()

    def _said(self, method: str, document: Any, kind: str) -> tuple[bytes | None, dict[str, str]]:
        fields = self.reach.fields
        if method in ("GET", "DELETE"):
            return None, fields
        body = json.dumps(document if document is not None else {}).encode()
        return body, {**fields, "Content-Type": kind}

    def _refused(self, answer: "HTTPResponse") -> None:
        """Tell why the gateway does not do it: problem+json (RFC 9457) has a `detail`."""
        text, code = answer.read(64 * 1024).decode("utf-8", "replace"), FAILED
        try:
            problem = json.loads(text)
            code = UNREACHABLE if problem.get("code") == _STORE_AWAY else FAILED
            reason = with_hint(problem.get("detail") or problem.get("title") or text, problem)
            more = [str(error.get("text", error)) for error in problem.get("errors", ())]
        except (ValueError, AttributeError):
            reason, more = text.strip()[:200] or answer.reason, []
        self._fail(
            code,
            f"the gateway at {self.reach.listen} answers {answer.status}: {plain(str(reason).strip())}",
            *map(plain, more),
        )
