"""Refuse: an answer of ours, as problem+json (RFC 9457) with honest fields."""

from http import HTTPStatus
from math import ceil

import orjson

from gateway.annotate import date_line, limit_lines, ours
from gateway.call import Call, Gateway
from gateway.core.problems import DETAILS, UPSTREAM_PROBLEMS, Kind, Refusal, document
from gateway.observe.log.text import readable
from gateway.upstream.failure import UpstreamFailed

HERE, IDS_IN_BODY = "@request-id@", 2
"""What stands for the id of the request while the rest of a problem document is worked out, and how often."""
_REASONS = {status.value: status.phrase for status in HTTPStatus}


def refuse(call: Call, refusal: Refusal) -> None:
    """Write the answer. It is small: written at once, never streamed."""
    record, request = call.record, call.request
    kind = refusal.kind
    record.status = kind.status
    record.response_source = refusal.source
    record.code = kind.code
    record.retry_after_s = refusal.retry_after_s
    if request.body is not None and not request.body.complete:
        request.connection.keep_alive = False
    written: Written | None = refusal.written
    if written is None:
        written = refusal.written = Written(call.gateway, refusal, record.connection)
    body = written.body(refusal, record.request_id)
    date = call.gateway.dates.at(int(call.gateway.wall_clock()))
    limits = limit_lines(call) or _until_when(call, refusal)
    head = written.head(refusal, len(body)) + date + limits + ours(call) + b"\r\n"
    if record.method != "HEAD":
        record.bytes_out = len(body)
        head += body
    request.connection.write(head)


def _until_when(call: Call, refusal: Refusal) -> bytes:
    """Callers who only know the older fields find the wait in them too where limits are not told of: in an upstream's
    pause, and while decisions are made without the store."""
    if not (refusal.violated or refusal.source == "pause"):
        return b""
    return call.gateway.fields.nothing_left(refusal.retry_after_s, call.gateway.wall_clock())


class Written:
    """A refusal as one caller reads it, but for the id of its request and what is left of its limits.

    It is kept with the refusal and does not refer back to it: there is a new one whenever a wait has another number of
    seconds, and what refers to itself only the collector gives back, which seldom runs.
    """

    __slots__ = ("_connection", "_gateway", "_heads", "_parts")

    def __init__(self, gateway: Gateway, refusal: Refusal, connection_id: str) -> None:
        self._gateway = gateway
        self._connection = connection_id
        self._heads: dict[int, bytes] = {}
        self._parts = _body(gateway, refusal, HERE, connection_id).split(HERE.encode())

    def body(self, refusal: Refusal, request_id: str) -> bytes:
        """The problem document."""
        if len(self._parts) != IDS_IN_BODY + 1:  # a caller's own text says what we look for
            return _body(self._gateway, refusal, request_id, self._connection)
        return request_id.encode("ascii").join(self._parts)

    def head(self, refusal: Refusal, size: int) -> bytes:
        """Status line and the problem's field lines, for a body of this size."""
        known = self._heads.get(size)
        if known is None:
            status = refusal.kind.status
            lines = problem_lines(self._gateway, refusal, size)
            known = self._heads[size] = b"HTTP/1.1 %d %b\r\n%b" % (status, _REASONS[status].encode(), lines)
        return known


def _body(gateway: Gateway, refusal: Refusal, request_id: str, connection_id: str) -> bytes:
    base = gateway.settings.headers.problem_base
    return orjson.dumps(document(refusal, base=base, request_id=request_id, connection_id=readable(connection_id)))


def problem_lines(gateway: Gateway, refusal: Refusal, size: int) -> bytes:
    """Field lines of a problem answer, without those every answer has."""
    settings = gateway.settings
    text = f"Content-Type: application/problem+json\r\nContent-Length: {size}\r\nCache-Control: no-store\r\n"
    if refusal.retry_after_s:
        text += f"Retry-After: {refusal.retry_after_s}\r\n"
    if refusal.kind.status == 405 and not refusal.extra_fields:
        text += "Allow: GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS\r\n"
    for name, value in refusal.extra_fields:
        text += f"{name}: {value}\r\n"
    if settings.headers.proxy_status != "off":
        details = f'; details="{", ".join(refusal.violated)}"' if refusal.violated else ""
        text += f"Proxy-Status: {settings.name}; error={refusal.kind.proxy_error}{details}\r\n"
    return text.encode("ascii")


def unreadable(gateway: Gateway, refusal: Refusal, request_id: str) -> tuple[bytes, bytes]:
    """Head and body of the answer to what is no request; the socket is closed behind it."""
    body = _body(gateway, refusal, request_id, "")
    status = refusal.kind.status
    head = b"HTTP/1.1 %d %b\r\n%b%bX-Request-Id: %b\r\nConnection: close\r\n\r\n" % (
        status,
        _REASONS[status].encode(),
        problem_lines(gateway, refusal, len(body)),
        date_line(gateway),
        request_id.encode(),
    )
    return head, body


def from_upstream_failure(call: Call, failure: UpstreamFailed) -> Refusal:
    """The upstream is at fault; the reason goes to the log, the caller gets the class."""
    kind: Kind = UPSTREAM_PROBLEMS[failure.error]
    record = call.record
    record.error_class = call.policies.classes.errors[failure.error].name
    record.error_detail = str(failure)
    retry_after_s = ceil(failure.again_s) if failure.error == "busy" else 0
    return Refusal(kind, DETAILS.get(failure.error, f"{kind.title}."), retry_after_s=retry_after_s)
