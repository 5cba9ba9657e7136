"""Refuse: an answer of ours, as problem+json (RFC 9457) with honest fields."""

from http import HTTPStatus

import orjson

from gateway.annotate import limit_lines, ours
from gateway.call import Call, Gateway
from gateway.core.problems import UPSTREAM_PROBLEMS, Kind, Refusal, document
from gateway.upstream.failure import UpstreamFailed

_REASONS = {status.value: status.phrase for status in HTTPStatus}


def refuse(call: Call, refusal: Refusal) -> None:
    """Write the answer. It is small: written at once, never streamed."""
    record, request = call.record, call.request
    kind = refusal.kind
    record.status = kind.status
    record.response_source = refusal.source
    record.code = kind.code
    unread = request.body is not None and not request.body.complete
    if unread or kind.proxy_error == "http_request_error":
        request.connection.keep_alive = False
    body = _body(call.gateway, refusal, record.request_id, record.connection)
    lines = problem_lines(call.gateway, refusal, len(body)) + limit_lines(call) + ours(call)
    head = b"HTTP/1.1 %d %b\r\n%b\r\n" % (kind.status, _REASONS[kind.status].encode(), lines)
    if record.method != "HEAD":
        record.bytes_out = len(body)
        head += body
    request.connection.write(head)


def _body(gateway: Gateway, refusal: Refusal, request_id: str, connection_id: str) -> bytes:
    base = gateway.settings.headers.problem_base
    safe = connection_id.encode("utf-8", "replace").decode()
    return orjson.dumps(document(refusal, base=base, request_id=request_id, connection_id=safe))


def problem_lines(gateway: Gateway, refusal: Refusal, size: int) -> bytes:
    """Field lines of a problem answer, without those every answer has."""
    settings = gateway.settings
    text = f"Content-Type: application/problem+json\r\nContent-Length: {size}\r\nCache-Control: no-store\r\n"
    if refusal.retry_after_s:
        text += f"Retry-After: {refusal.retry_after_s}\r\n"
    if refusal.kind.status == 405:
        text += "Allow: GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS\r\n"
    for name, value in refusal.extra_fields:
        text += f"{name}: {value}\r\n"
    if settings.headers.proxy_status != "off":
        details = f'; details="{", ".join(refusal.violated)}"' if refusal.violated else ""
        text += f"Proxy-Status: {settings.name}; error={refusal.kind.proxy_error}{details}\r\n"
    return text.encode("ascii")


def unreadable(gateway: Gateway, refusal: Refusal, request_id: str) -> bytes:
    """The whole answer to a head that is no request; the socket is closed behind it."""
    body = _body(gateway, refusal, request_id, "")
    status = refusal.kind.status
    return b"HTTP/1.1 %d %b\r\n%bX-Request-Id: %b\r\nConnection: close\r\n\r\n%b" % (
        status,
        _REASONS[status].encode(),
        problem_lines(gateway, refusal, len(body)),
        request_id.encode(),
        body,
    )


def from_upstream_failure(call: Call, failure: UpstreamFailed) -> Refusal:
    """The upstream is at fault; the reason goes to the log, the caller gets the class."""
    kind: Kind = UPSTREAM_PROBLEMS[failure.error]
    record = call.record
    record.error_class = call.policies.classes.errors[failure.error].name
    record.error_detail = str(failure)
    return Refusal(kind, f"{kind.title}.", retry_after_s=1 if failure.error == "busy" else 0)
