"""The fields of log lines and what each is called in the three formats: native, ECS 8, OpenTelemetry.

Native names are flat and carry their unit. `formats` turns them, and the few values whose unit differs, into
the others. `docs/logs.md` lists exactly these fields.
"""

from collections.abc import Mapping
from typing import NamedTuple

SCHEMA = 1
"""Rises when a field is renamed, removed or changes its meaning; new fields do not raise it."""


class Field(NamedTuple):
    """One field: type as readers see it, names in the other formats, and what it says."""

    type: str
    ecs: str
    otel: str
    meaning: str


_ENVELOPE: Mapping[str, Field] = {
    "timestamp": Field("string", "@timestamp", "Timestamp", "When the line was made: RFC 3339, UTC, microseconds."),
    "level": Field("string", "log.level", "SeverityText", "debug, info, warning or error."),
    "message": Field("string", "message", "Body", "A constant sentence."),
    "event_name": Field("string", "event.action", "EventName", "Which kind of line this is."),
    "schema": Field("integer", "labels.schema", "", "Version of this schema: 1."),
    "service_name": Field("string", "service.name", "service.name", "Always `ratelimit-gateway`."),
    "service_version": Field("string", "service.version", "service.version", "Version of the gateway."),
    "instance": Field("string", "service.node.name", "service.instance.id", "`name` of the settings."),
    "worker": Field("integer", "labels.worker", "", "Number of the worker, from 0. Not a process id."),
    "policy_version": Field(
        "string", "labels.policy_version", "gateway.policy.version", "12 hex digits: the policy set in force."
    ),
}

_ACCESS: Mapping[str, Field] = {
    "request_id": Field("string", "http.request.id", "gateway.request.id", "Also in the answer's `X-Request-Id`."),
    "trace_id": Field("string", "trace.id", "TraceId", "W3C trace id, 32 hex digits."),
    "span_id": Field("string", "span.id", "SpanId", "The gateway's span, 16 hex digits."),
    "method": Field("string", "http.request.method", "http.request.method", "As the caller sent it."),
    "scheme": Field("string", "url.scheme", "url.scheme", "http or https."),
    "http_host": Field("string", "url.domain", "server.address", "The Host field."),
    "path": Field("string", "url.path", "url.path", "The raw path, without the query; at most 4,096 characters."),
    "query": Field("string", "url.query", "url.query", "Off by default; values of secret parameters are replaced."),
    "protocol": Field("string", "http.version", "network.protocol.version", "HTTP/1.0 or HTTP/1.1."),
    "status": Field(
        "integer",
        "http.response.status_code",
        "http.response.status_code",
        "Sent to the caller; 499 = the caller left before it.",
    ),
    "client_ip": Field("string", "client.ip", "client.address", "The caller's address, behind trusted proxies."),
    "peer_ip": Field("string", "source.ip", "network.peer.address", "The other end of the socket."),
    "http_user_agent": Field("string", "user_agent.original", "user_agent.original", "At most 512 characters."),
    "http_referer": Field("string", "http.request.referrer", "", "Without query; at most 1,024."),
    "bytes_in": Field("integer", "http.request.body.bytes", "http.request.body.size", "Body bytes of the request."),
    "bytes_out": Field("integer", "http.response.body.bytes", "http.response.body.size", "Body bytes of the answer."),
    "duration_ms": Field(
        "number",
        "event.duration",
        "",
        "From the complete request head to the last byte of the answer. In ECS: integer nanoseconds.",
    ),
    "gateway_ms": Field("number", "", "", "The rest of `duration_ms`."),
    "store_ms": Field("number", "", "", "Waiting for the store's decision."),
    "queue_ms": Field("number", "", "", "Waiting for a turn."),
    "upstream_ms": Field("number", "", "", "Waiting for the upstream."),
    "retry_wait_ms": Field("number", "", "", "Waiting between attempts."),
    "route": Field("string", "labels.route", "http.route", "Name of the route."),
    "upstream": Field("string", "labels.upstream", "", "Name of the upstream."),
    "upstream_addr": Field("string", "labels.upstream_addr", "", "Address and port it went to."),
    "operation": Field("string", "labels.operation", "", "Name of the operation."),
    "entity": Field("string", "labels.entity", "", "Entity of the operation."),
    "tenant": Field("string", "organization.id", "", "Key part; keys of callers only as a hash."),
    "account": Field("string", "labels.account", "", "Key part."),
    "connection": Field("string", "labels.connection", "", "Key part."),
    "auth_scheme": Field("string", "labels.auth_scheme", "gateway.auth.scheme", "The scheme that knows the caller."),
    "auth_key": Field(
        "string", "labels.auth_key", "gateway.auth.key", "Name of the key that the caller is known by; never the key."
    ),
    "response_source": Field(
        "string",
        "labels.response_source",
        "gateway.response.source",
        "Who made the answer: upstream, limit, breaker, pause, cache, sandbox or gateway.",
    ),
    "decision": Field("string", "labels.decision", "", "allowed, limited, shadow_limited, held, skipped or unlimited."),
    "breaker": Field("string", "labels.breaker", "", "The route's breaker, when it was asked."),
    "breaker_state": Field("string", "labels.breaker_state", "", "closed, half_open (the call is a probe) or open."),
    "limit_fired": Field(
        "string",
        "rule.name",
        "gateway.limit",
        "The limit that decided; of several that refuse, the one with the longest wait.",
    ),
    "limit_remaining": Field("integer", "", "", "Units left of the tightest enforced limit."),
    "limit_reset_s": Field("number", "", "", "Seconds until that limit is full again."),
    "retry_after_s": Field("integer", "", "", "What `Retry-After` said."),
    "limits": Field(
        "array", "", "", "Every limit asked: `name`, `mode`, `decision`, `limit`, `remaining`, `reset_s`, `cost`."
    ),
    "cost_settled": Field(
        "boolean",
        "",
        "",
        "Where costs are known only afterwards: whether `cost` is real everywhere; else what was reserved.",
    ),
    "cost_unknown": Field("string", "", "", "Why not: no_answer, no_number, encoded, too_large, cut."),
    "store": Field("string", "labels.store", "", "Where it was decided: redis, embedded, local or none."),
    "store_error": Field(
        "string",
        "labels.store_error",
        "",
        "Only when the store did not decide it: timeout, connect, busy, script, other. `error_detail` says more.",
    ),
    "attempts": Field(
        "array",
        "",
        "",
        "Only when there was more than one, or was to be when the call was given up: `n`, `status`, `error_class`, "
        "`upstream_ms`, `wait_ms`, `queue_ms` (not of the first), `span_id`, `token_renewed`.",
    ),
    "upstream_status": Field("integer", "", "", "The upstream's own status."),
    "upstream_request_id": Field(
        "string", "", "", "What the upstream calls the call: its own `X-Request-Id`, where that is not `request_id`."
    ),
    "upstream_retry_after_s": Field("integer", "", "", "The upstream's `Retry-After`."),
    "upstream_limit_remaining": Field(
        "integer", "", "", "What is left by its own rate-limit fields, the least that they name."
    ),
    "upstream_limit_reset_s": Field("integer", "", "", "Seconds until more is, as they say."),
    "error_class": Field(
        "string",
        "error.type",
        "error.type",
        "client_error, auth_error, rate_limited, server_error, connect, timeout, tls, client_closed, ...",
    ),
    "error_detail": Field("string", "error.message", "error.message", "What happened, in the gateway's words."),
    "cache": Field("string", "labels.cache", "", "How the route's cache took part: see docs/cache.md."),
    "problem_code": Field("string", "error.code", "gateway.problem.code", "`code` of our problem body."),
    "aborted_by": Field("string", "labels.aborted_by", "", "client, upstream or gateway, when cut short."),
    "sampled_out": Field("integer", "", "", "Lines like this one that were left out before it."),
    "truncated": Field("boolean", "labels.truncated", "", "true when texts were cut to fit 16 KiB."),
}

_EVENT: Mapping[str, Field] = {
    "pid": Field("integer", "process.pid", "process.pid", "Process the event is about."),
    "exception": Field("string", "error.stack_trace", "exception.stacktrace", "Traceback, without variables."),
    "logger": Field("string", "log.logger", "", "Which library logged it."),
    "count": Field("integer", "", "", "How many."),
    "limit": Field("integer", "gateway.limit_units", "gateway.limit_units", "What `limit_name` allows, in units."),
    "caller": Field(
        "string",
        "labels.caller",
        "",
        "The key parts that a breaker or pause counts by: whose it is. `tenant`, `account` and `connection` among them "
        "are in their own fields as well.",
    ),
    "state_before": Field("string", "labels.state_before", "", "State of the connection before."),
    "state_before_s": Field("number", "", "", "For how long it was that."),
}

_ATTEMPT: Mapping[str, Field] = {
    "attempt": Field("integer", "", "", "Which attempt of the call, from 1."),
    "last_attempt": Field("boolean", "", "", "Whether the caller got its outcome."),
}


def _named(fields: Mapping[str, Field]) -> Mapping[str, Field]:
    """With the usual name, `gateway.` and its own, in the place of ""."""
    return {
        name: field._replace(ecs=field.ecs or f"gateway.{name}", otel=field.otel or f"gateway.{name}")
        for name, field in fields.items()
    }


ENVELOPE, ACCESS_FIELDS, EVENT_FIELDS = _named(_ENVELOPE), _named(_ACCESS), _named(_EVENT)
FIELDS: Mapping[str, Field] = {**ENVELOPE, **ACCESS_FIELDS, **EVENT_FIELDS, **_named(_ATTEMPT)}

CONNECTION_ERROR_FIELDS: Mapping[str, Field] = {
    name: FIELDS[name]
    for name in (
        *("logger", "request_id", "trace_id", "span_id", "method", "route", "operation", "entity"),
        *("tenant", "account", "connection", "upstream", "upstream_addr", "attempt", "last_attempt", "error_class"),
        *("error_detail", "upstream_status", "upstream_retry_after_s", "upstream_ms", "status", "duration_ms"),
    )
}
"""Of the lines of the log of connection errors, besides the envelope."""
