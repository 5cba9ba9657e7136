"""A finished call in native field names: what is not known is left out, every unit is in the name.

Written for speed, as it runs once a call: one dictionary display for what every call has, plain tests for the rest.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from gateway.core.ask import Ask, UsedUp
from gateway.core.headers import tightest
from gateway.core.limits import Decision, Limit, Mode, Verdict
from gateway.observe.log.text import redact_query, without_userinfo
from gateway.record import CallRecord

PATH_CHARS = 4_096
USER_AGENT_CHARS = 512
REFERER_CHARS = 1_024
UPSTREAM_ID_CHARS = 256

REFUSED = {Mode.ENFORCE: "limited", Mode.SHADOW: "shadow_limited", Mode.OFF: "limited"}
"""What a limit without room did, by its mode."""

Line = dict[str, Any]


def call_line(record: CallRecord, *, with_query: bool) -> Line:
    """All that is known about the call, without the envelope. Parts that took no time are left out."""
    line = common_line(record, with_query=with_query) | own_line(record, with_query=with_query)
    if record.cache:  # such calls have no `notes`, and so come this way
        line["cache"] = record.cache
    if not record.method:
        _drop_unread(line)
    return line


def common_line(record: CallRecord, *, with_query: bool) -> Line:
    """What is the same for all calls that share their `notes`."""
    line: Line = {
        "policy_version": record.policy_version,
        "scheme": record.scheme,
        "protocol": record.protocol,
        "client_ip": record.client_ip,
        "peer_ip": record.peer_ip,
    }
    if record.http_host:
        line["http_host"] = record.http_host
    if record.user_agent:
        line["http_user_agent"] = record.user_agent[:USER_AGENT_CHARS]
    if record.referer:
        line["http_referer"] = _referer(record.referer, with_query)
    if record.route:
        line["route"] = record.route
        line["upstream"] = record.upstream
    if record.operation:
        line["operation"] = record.operation
    if record.entity:
        line["entity"] = record.entity
    return line


def own_line(record: CallRecord, *, with_query: bool) -> Line:
    """What each call and each caller have of their own."""
    path, question, query = record.target.partition("?")
    total_s, store_s, upstream_s = record.ended - record.started, record.store_s, record.upstream_s
    queue_s, retry_wait_s = record.queue_s, record.retry_wait_s
    own_s = total_s - store_s - upstream_s - queue_s - retry_wait_s
    line: Line = {
        "request_id": record.request_id,
        "method": record.method,
        "path": path[:PATH_CHARS] if path[:1] == "/" else _origin_form(path),
        "status": record.status,
        "bytes_in": record.bytes_in,
        "bytes_out": record.bytes_out,
        "duration_ms": int(total_s * 1e6) / 1e3,
        "gateway_ms": int(own_s * 1e6) / 1e3 if own_s > 0 else 0.0,
        "response_source": record.response_source,
        "decision": record.verdict,
        "store": record.store,
    }
    _add_caller(line, record)
    if question and with_query:
        line["query"] = redact_query(query)[:PATH_CHARS]
    if record.trace_id:
        line["trace_id"] = record.trace_id
        line["span_id"] = record.span_id
    if store_s:
        line["store_ms"] = int(store_s * 1e6) / 1e3
    if upstream_s:
        line["upstream_ms"] = int(upstream_s * 1e6) / 1e3
    if queue_s:
        line["queue_ms"] = int(queue_s * 1e6) / 1e3
    if retry_wait_s:
        line["retry_wait_ms"] = int(retry_wait_s * 1e6) / 1e3
    if record.upstream_addr:
        line["upstream_addr"] = record.upstream_addr
    if record.decision is not None and record.decision.verdicts:
        _add_limits(line, record, record.decision)
    if record.breaker:
        line["breaker"] = record.breaker
        if record.breaker_state:
            line["breaker_state"] = record.breaker_state
    _add_outcome(line, record)
    return line


def repeats(record: CallRecord, refused: UsedUp) -> bool:
    """Whether a limit refused this call as it had refused the one before: without the store, for the same reasons.

    Then the two have in common what `repeated_line` says, and `repeating_line` says the rest of this one.
    """
    return (
        refused.decision is record.decision
        and record.code is refused.refusal.kind.code
        and not (record.store_s or record.queue_s or record.upstream_s or record.error_class or record.aborted_by)
    )


def repeated_line(record: CallRecord) -> Line:
    """What the caller's calls have in common that are refused for the same reasons."""
    line: Line = {
        "status": record.status,
        "response_source": record.response_source,
        "decision": record.verdict,
        "store": record.store,
    }
    _add_caller(line, record)
    if record.decision is not None:
        _add_limits(line, record, record.decision)
    if record.breaker:
        line["breaker"] = record.breaker
    _add_outcome(line, record)
    return line


def repeating_line(record: CallRecord, *, with_query: bool) -> Line:
    """What each of these calls has of its own: it got no farther than to its limits."""
    path, question, query = record.target.partition("?")
    took_ms = int((record.ended - record.started) * 1e6) / 1e3
    line: Line = {
        "request_id": record.request_id,
        "method": record.method,
        "path": path[:PATH_CHARS] if path[:1] == "/" else _origin_form(path),
        "bytes_in": record.bytes_in,
        "bytes_out": record.bytes_out,
        "duration_ms": took_ms,
        "gateway_ms": took_ms,
    }
    if question and with_query:
        line["query"] = redact_query(query)[:PATH_CHARS]
    if record.trace_id:
        line["trace_id"] = record.trace_id
        line["span_id"] = record.span_id
    return line


def _drop_unread(line: Line) -> None:
    """No request could be read: its parts are unknown."""
    for name in ("method", "path", "protocol"):
        del line[name]
    for name in ("policy_version", "client_ip", "peer_ip"):
        if not line[name]:
            del line[name]


def _origin_form(target: str) -> str:
    """The path of a target in absolute form (RFC 9112 §3.2.2); its authority may hold a password."""
    _, scheme_end, rest = target.partition("://")
    return ("/" + rest.partition("/")[2] if scheme_end else target)[:PATH_CHARS]


def _add_caller(line: Line, record: CallRecord) -> None:
    if record.tenant:
        line["tenant"] = record.tenant
    if record.account:
        line["account"] = record.account
    if record.connection:
        line["connection"] = record.connection
    if record.auth_scheme:
        line["auth_scheme"] = record.auth_scheme
        line["auth_key"] = record.auth_key


def _referer(value: str, with_query: bool) -> str:
    address, question, query = value.partition("#")[0].partition("?")
    if with_query and question:
        address = f"{address}?{redact_query(query)}"
    return without_userinfo(address)[:REFERER_CHARS]


def _add_limits(line: Line, record: CallRecord, decision: Decision) -> None:
    """Every limit that was asked; and the tightest enforced one. A refusal may be told of many calls."""
    if record.costs is not None:
        line["cost_settled"] = not record.cost_unknown
        if record.cost_unknown:
            line["cost_unknown"] = record.cost_unknown
    repeated = record.ask.used_up
    if repeated is None or repeated.decision is not decision:
        line.update(_limits(record, decision.verdicts))
        return
    if repeated.said is None:
        repeated.said = _limits(record, decision.verdicts)
    line.update(repeated.said)


def _limits(record: CallRecord, verdicts: Sequence[Verdict]) -> Line:
    """Also what is left of the tightest enforced one, which is that of `X-RateLimit-*`."""
    line: Line = {}
    ask = record.ask
    texts = [
        f'{start[not admitted]},"remaining":{remaining},"reset_s":{full_us // 1000 / 1e3}}}'
        for start, (admitted, remaining, full_us, _, _) in zip(_starts(ask, record.costs), verdicts, strict=True)
    ]
    line["limits"] = orjson.Fragment(f"[{','.join(texts)}]")
    tight = tightest(ask.kind, verdicts)
    if tight >= 0:
        _, remaining, full_us, _, _ = verdicts[ask.kind.enforced[tight][0]]
        line["limit_remaining"] = remaining
        line["limit_reset_s"] = full_us // 1000 / 1e3
    return line


def _starts(ask: Ask, costs: Mapping[str, int] | None) -> Sequence[tuple[str, str]]:
    """The beginnings of what is said of each limit: when it had room, and when it had none.

    costs  real ones, where they are known only now: then it is said of this call alone
    """
    if costs is None and ask.kind.said is not None:
        said: Sequence[tuple[str, str]] = ask.kind.said
        return said
    asked = [(limit, (costs or {}).get(limit.name, cost)) for limit, _, cost in ask.charges]
    starts = [(_start(limit, cost, "allowed"), _start(limit, cost, REFUSED[limit.mode])) for limit, cost in asked]
    if costs is None:
        ask.kind.said = starts
    return starts


def _start(limit: Limit, cost: int, decision: str) -> str:
    said = {"name": limit.name, "mode": limit.mode, "decision": decision, "limit": limit.quota, "cost": cost}
    return orjson.dumps(said).decode()[:-1]


def _add_outcome(line: Line, record: CallRecord) -> None:
    if record.limit_fired:
        line["limit_fired"] = record.limit_fired
    if record.retry_after_s:
        line["retry_after_s"] = record.retry_after_s
    if record.attempts:
        line["attempts"] = record.attempts
    if record.upstream_status:
        line["upstream_status"] = record.upstream_status
    if record.upstream_request_id:
        line["upstream_request_id"] = record.upstream_request_id[:UPSTREAM_ID_CHARS]
    if record.upstream_retry_after_s:
        line["upstream_retry_after_s"] = record.upstream_retry_after_s
    if record.upstream_limit_remaining is not None:
        line["upstream_limit_remaining"] = record.upstream_limit_remaining
    if record.upstream_limit_reset_s:
        line["upstream_limit_reset_s"] = record.upstream_limit_reset_s
    if record.error_class or record.error_detail:
        _add_error(line, record)
    if record.code:
        line["problem_code"] = record.code
    if record.aborted_by:
        line["aborted_by"] = record.aborted_by


def _add_error(line: Line, record: CallRecord) -> None:
    if record.error_class:
        line["error_class"] = record.error_class
    if record.error_detail:
        line["error_detail"] = record.error_detail
        if record.store_error:  # which has a detail
            line["store_error"] = record.store_error
