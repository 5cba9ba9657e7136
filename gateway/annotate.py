"""Annotate: the answer's head for the caller. Hop-by-hop out; rate limits, request id and status of this hop in."""

from collections.abc import Sequence
from math import ceil
from typing import Any

from gateway.call import Call, Gateway
from gateway.core.headers import LimitState, tightest, visible, whole_seconds
from gateway.core.http.fields import HOP_BY_HOP, LIMIT_FIELDS, connection_named, keep, lower, response_head, text
from gateway.core.http.signals import COUNTING, THEIR_CLOCK, Honor, read
from gateway.core.http.their_limits import beside, with_reset_as_ours
from gateway.core.units import SECOND_US
from gateway.record import CallRecord
from gateway.wire.response_head import ResponseHead

_NOT_IN_SWITCH = frozenset({b"x-request-id", b"content-length", b"transfer-encoding"})  # RFC 9110 §8.6, RFC 9112 §6.1
_COUNTED = (Honor.RATELIMIT, Honor.X_RATELIMIT)
_LEGACY = frozenset({b"x-ratelimit-limit", b"x-ratelimit-remaining", b"x-ratelimit-reset"})
_LEGACY_DATED = _LEGACY | THEIR_CLOCK


class Passed:
    """What is sent on of an answer's head, the same for all answers that say the same.

    start    status line and field lines
    chunked  whether the body is written in chunks
    closes   whether only the end of the socket ends the body
    limits   whether the upstream has rate-limit fields of its own that ours have to be joined with: then `start` is
             only the status line
    counts   whether it says what it has left, in these or in others
    dated    whether it says when it was made
    names    what the upstream calls the call, in its own `X-Request-Id`; "" = nothing
    """

    __slots__ = ("chunked", "closes", "counts", "dated", "drop", "limits", "names", "start")

    def __init__(self, answer: ResponseHead, http10: bool) -> None:
        self.chunked = answer.length < 0 and not http10
        self.closes = answer.length < 0 and http10
        self.dated = "Date" in answer.headers
        self.names = answer.headers.get("X-Request-Id", "")
        drop: frozenset[bytes] = HOP_BY_HOP | {b"x-request-id"}
        if "Connection" in answer.headers:
            drop |= connection_named(",".join(answer.headers.getall("Connection")), ())
        if answer.status == 204:
            drop |= {b"content-length"}
        if not self.chunked and "Trailer" in answer.headers:
            drop |= {b"trailer"}
        added = b"Transfer-Encoding: chunked\r\n" if self.chunked else b""
        if answer.status == 426:  # has to say what to change to (RFC 9110 §15.5.22), and changes pass us
            drop -= {b"upgrade"}
            added += b"Connection: Upgrade\r\n"
        self.drop = drop
        names = [lower[name] for name, _ in answer.fields]
        self.limits, self.counts = not LIMIT_FIELDS.isdisjoint(names), not COUNTING.isdisjoint(names)
        fields = () if self.limits else answer.fields
        self.start = response_head(answer.status, answer.reason, fields, drop, added)[: -len(b"\r\n")]


def annotate(call: Call, answer: ResponseHead) -> tuple[bytes, bool]:
    """(head for the caller, whether its body is written in chunks)."""
    request = call.request
    passed: Any = answer.remembered
    if passed is None or request.head.block.http10:
        passed = _passed(answer, request.head.block.http10)
    if passed.closes or (request.body is not None and not request.body.complete):
        request.connection.keep_alive = False
    if passed.counts:
        _note_theirs(call, answer)
    lines = _merged_limits(call, answer, passed.drop) if passed.limits else limit_lines(call)
    if not passed.dated:  # RFC 9110 §6.6.1: whoever passes it on says when it came
        lines = date_line(call.gateway) + lines
    if passed.names:
        lines = _upstream_id(call.record, passed.names) + lines
    return passed.start + lines + ours(call, answer.status) + b"\r\n", passed.chunked


def _passed(answer: ResponseHead, http10: bool) -> Passed:
    """Remembered with the head; an answer to an HTTP/1.0 caller is rare and worked out each time."""
    passed = Passed(answer, http10)
    if not http10:
        answer.remembered = passed
    return passed


def switching_head(call: Call, answer: ResponseHead) -> bytes:
    """The head of a 101: the fields of the switch stay, they are meant for the caller this time."""
    _note_theirs(call, answer)
    start = response_head(101, answer.reason, (), (), b"")[: -len(b"\r\n")]
    lines = f"X-Request-Id: {call.record.request_id}\r\n{_as_settings_ask(call, 101)}\r\n"
    theirs = _upstream_id(call.record, answer.headers.get("X-Request-Id", ""))
    return start + _merged_limits(call, answer, _NOT_IN_SWITCH) + theirs + lines.encode("ascii")


def _upstream_id(record: CallRecord, name: str) -> bytes:
    """What the upstream calls this call, where it has not taken our name for it: its support asks for that."""
    if not name or name == record.request_id:
        return b""
    record.upstream_request_id = name
    return b"X-Upstream-Request-Id: %b\r\n" % name.encode("utf-8", "surrogateescape")


def ours(call: Call, received_status: int = 0) -> bytes:
    """Lines on every answer: request id, how the socket goes on, and what settings ask for."""
    record, gateway = call.record, call.gateway
    if (
        call.request.connection.keep_alive
        and not call.request.head.block.http10
        and received_status < gateway.reported_from
    ):
        return b"X-Request-Id: %b\r\n" % record.request_id.encode("ascii")
    lines = f"X-Request-Id: {record.request_id}\r\n"
    if not call.request.connection.keep_alive:
        lines += "Connection: close\r\n"
    elif call.request.head.block.http10:
        lines += "Connection: keep-alive\r\n"
    return (lines + _as_settings_ask(call, received_status)).encode("ascii")


def _as_settings_ask(call: Call, received_status: int) -> str:
    """Lines about the hop to the upstream, which answered with this status; 0 = it did not."""
    lines, gateway, settings = "", call.gateway, call.gateway.settings
    mode = settings.headers.proxy_status
    if received_status and (mode == "always" or (mode == "errors" and received_status >= 500)):
        lines += f"Proxy-Status: {settings.name}; received-status={received_status}\r\n"
    if settings.headers.server_timing:
        lines += f"Server-Timing: {_timing(call.record, gateway.clock() - call.record.started)}\r\n"
    return lines


def _timing(record: CallRecord, total_s: float) -> str:
    """Milliseconds so far, by the parts that the log has; what a call did not wait for is left out."""
    parts = {
        "store": record.store_s,
        "queue": record.queue_s,
        "upstream": record.upstream_s,
        "retry-wait": record.retry_wait_s,
    }
    told = {"gw": max(0.0, total_s - sum(parts.values())), **{name: took_s for name, took_s in parts.items() if took_s}}
    return ", ".join(f"{name};dur={took_s * 1e3:.1f}" for name, took_s in told.items())


def date_line(gateway: Gateway) -> bytes:
    """For answers of ours, and those of upstreams that do not say when they were made."""
    return gateway.dates.at(int(gateway.wall_clock()))


def limit_lines(call: Call, *, hide_legacy: bool = False) -> bytes:
    """The rate-limit fields of this call; none while decisions are made without the store: they would mislead."""
    gateway, decision = call.gateway, call.decision
    if decision is None or not decision.verdicts or call.record.store != gateway.store.kind:
        return b""
    known = call.ask.used_up
    if known is not None and known.decision is decision and not gateway.fields.epoch_reset:
        if not known.lines:
            known.lines = gateway.fields.lines(call.ask, decision.verdicts, decision.now_us)
        return known.lines
    epoch_s = ceil(gateway.wall_clock()) if gateway.fields.epoch_reset else 0  # rounded down it would be too early
    lines = gateway.fields.lines
    return lines(call.ask, decision.verdicts, decision.now_us, epoch_s=epoch_s, hide_legacy=hide_legacy)


def _shown(call: Call) -> Sequence[LimitState]:
    decision = call.decision
    if decision is None or not decision.verdicts or call.record.store != call.gateway.store.kind:
        return ()
    return visible(call.ask.charges, decision)


def _merged_limits(call: Call, answer: ResponseHead, drop: frozenset[bytes]) -> bytes:
    """All field lines, the upstream's own rate-limit fields joined with ours: nothing lost, never more permissive."""
    states, fields, writer = _shown(call), answer.fields, call.gateway.fields
    theirs_tighter = bool(states) and _theirs_is_tighter(call, answer, states)
    if states and writer.legacy:
        if theirs_tighter:
            fields = with_reset_as_ours(fields, call.gateway.now_us(), epoch=writer.epoch_reset)
        else:
            drop |= _LEGACY
    if states and writer.draft:
        fields = beside(fields, {state.limit.name for state in states})
    return text(keep(fields, drop)) + limit_lines(call, hide_legacy=theirs_tighter)


def _theirs_is_tighter(call: Call, answer: ResponseHead, states: Sequence[LimitState]) -> bool:
    """Whether the upstream's legacy triple is kept instead of ours: it has less left, or as much for longer. A 429 that
    only says until when has nothing left."""
    dated = tuple(field for field in answer.fields if lower[field[0]] in _LEGACY_DATED)
    theirs = read(answer.status, dated, call.gateway.now_us(), _COUNTED)
    left = 0 if theirs.remaining is None and theirs.wait_us else theirs.remaining
    if left is None:
        return False
    ours = states[tightest(call.ask.kind, call.decision.verdicts)]  # type: ignore[union-attr]  # it shows states
    return (left, -theirs.reset_us) < (ours.verdict.remaining, -ours.more_s * SECOND_US)


def _note_theirs(call: Call, answer: ResponseHead) -> None:
    """For the log: what the upstream says is left, in whatever fields."""
    theirs = read(answer.status, answer.fields, call.gateway.now_us(), _COUNTED)
    call.record.upstream_limit_remaining = theirs.remaining
    call.record.upstream_limit_reset_s = whole_seconds(theirs.reset_us)
