"""The sandbox answers admitted calls in the upstream's place, from the fixtures of their route (`core.sandbox`).

What comes before is the same as for other calls: limits are charged and their fields are shown. The upstream, its
breaker and what is learned from it never hear of such a call.
"""

from dataclasses import replace
from http import HTTPStatus

from gateway.annotate import date_line, limit_lines, ours
from gateway.call import Call
from gateway.core.problems import Refusal, body_problem
from gateway.core.sandbox import BODILESS, MARK, Reply
from gateway.core.sandbox.samples import Asked
from gateway.listener.request import Request
from gateway.refuse import refuse
from gateway.upload import Upload

MAX_BODY_BYTES = 1024 * 1024
_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}


async def from_fixtures(call: Call, _upload: Upload) -> None:
    """Answer from the fixtures. Raises BodyFailed when the caller's body is at fault."""
    fixtures, gateway, head = call.route.fixtures, call.gateway, call.request.head
    assert fixtures is not None, "only calls of a sandbox come here"
    call.forwarded_at = gateway.clock()
    body = await _body(call.request)
    if body is None:
        refuse(call, _too_large())
        return
    path, _, query = call.target.removeprefix(call.route.upstream.base_path).partition("?")
    found = fixtures.reply(Asked(head.method.upper(), path, query, head.headers, body))
    if isinstance(found, Refusal):
        refuse(call, found)
        return
    if found.delay_us:
        await gateway.sleep(found.delay_us / 1e6)
    call.record.upstream_s = gateway.clock() - call.forwarded_at
    _write(call, found)
    if call.request.connection.write_paused:
        await call.request.connection.drain()


async def _body(request: Request) -> bytes | None:
    """All of it; None when it is larger than a sample record may be."""
    body, pieces = request.body, []
    if body is None:
        return b""
    request.invite_body()
    while data := await body.read():
        pieces.append(data)
        if body.size > MAX_BODY_BYTES:
            return None
    return b"".join(pieces)


def _too_large() -> Refusal:
    """A bound of the sandbox alone: outside of it the gateway may take larger ones."""
    detail = "The sandbox takes bodies of up to 1 MiB."
    return replace(body_problem("too_large"), detail=detail, source="sandbox", extra_fields=(MARK,))


def _write(call: Call, reply: Reply) -> None:
    record = call.record
    record.status = reply.status
    record.response_source = "sandbox"
    lines = "".join([f"{name}: {value}\r\n" for name, value in reply.fields])
    if reply.status not in BODILESS:
        lines += f"Content-Length: {len(reply.body)}\r\n"
    if not any(name.lower() == "date" for name, _ in reply.fields):
        lines += date_line(call.gateway).decode("ascii")
    start = b"HTTP/1.1 %d %b\r\n%b" % (reply.status, _REASONS.get(reply.status, b""), lines.encode("ascii"))
    head = start + limit_lines(call) + ours(call) + b"\r\n"
    if record.method == "HEAD" or reply.status in BODILESS:
        call.request.connection.write(head)
        return
    record.bytes_out = len(reply.body)
    call.request.connection.write(head + reply.body)
