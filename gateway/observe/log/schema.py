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


ENVELOPE: Mapping[str, Field] = {
    "timestamp": Field("string", "@timestamp", "Timestamp", "When the line was made: RFC 3339, UTC, microseconds."),
    "level": Field("string", "log.level", "SeverityText", "debug, info, warning or error."),
    "message": Field("string", "message", "Body", "A constant sentence."),
    "event_name": Field("string", "event.action", "EventName", "Which kind of line this is."),
    "schema": Field("integer", "labels.schema", "gateway.schema", "Version of this schema: 1."),
    "service_name": Field("string", "service.name", "service.name", "Always `ratelimit-gateway`."),
    "service_version": Field("string", "service.version", "service.version", "Version of the gateway."),
    "instance": Field("string", "service.node.name", "service.instance.id", "`name` of the settings."),
    "worker": Field("integer", "labels.worker", "gateway.worker", "Number of the worker, from 0. Not a process id."),
    "policy_version": Field(
        "string", "labels.policy_version", "gateway.policy.version", "12 hex digits: the policy set in force."
    ),
}

ACCESS_FIELDS: Mapping[str, Field] = {
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
    "http_referer": Field("string", "http.request.referrer", "gateway.http_referer", "Without query; at most 1,024."),
    "bytes_in": Field("integer", "http.request.body.bytes", "http.request.body.size", "Body bytes of the request."),
    "bytes_out": Field("integer", "http.response.body.bytes", "http.response.body.size", "Body bytes of the answer."),
    "duration_ms": Field(
        "number",
        "event.duration",
        "gateway.duration_ms",
        "From the complete request head to the last byte of the answer. In ECS: integer nanoseconds.",
    ),
    "gateway_ms": Field("number", "gateway.gateway_ms", "gateway.gateway_ms", "The rest of `duration_ms`."),
    "store_ms": Field("number", "gateway.store_ms", "gateway.store_ms", "Waiting for the store's decision."),
    "queue_ms": Field("number", "gateway.queue_ms", "gateway.queue_ms", "Waiting for a turn."),
    "upstream_ms": Field("number", "gateway.upstream_ms", "gateway.upstream_ms", "Waiting for the upstream."),
    "retry_wait_ms": Field("number", "gateway.retry_wait_ms", "gateway.retry_wait_ms", "Waiting between attempts."),
    "route": Field("string", "labels.route", "http.route", "Name of the route."),
    "upstream": Field("string", "labels.upstream", "gateway.upstream", "Name of the upstream."),
    "upstream_addr": Field("string", "labels.upstream_addr", "gateway.upstream_addr", "Address and port it went to."),
    "operation": Field("string", "labels.operation", "gateway.operation", "Name of the operation."),
    "entity": Field("string", "labels.entity", "gateway.entity", "Entity of the operation."),
    "tenant": Field("string", "organization.id", "gateway.tenant", "Key part; keys of callers only as a hash."),
    "account": Field("string", "labels.account", "gateway.account", "Key part."),
    "connection": Field("string", "labels.connection", "gateway.connection", "Key part."),
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
    "decision": Field(
        "string",
        "labels.decision",
        "gateway.decision",
        "allowed, limited, shadow_limited, held, skipped or unlimited.",
    ),
    "breaker": Field("string", "labels.breaker", "gateway.breaker", "The route's breaker, when it was asked."),
    "breaker_state": Field(
        "string", "labels.breaker_state", "gateway.breaker_state", "closed, half_open (the call is a probe) or open."
    ),
    "limit_fired": Field(
        "string",
        "rule.name",
        "gateway.limit",
        "The limit that decided; of several that refuse, the one with the longest wait.",
    ),
    "limit_remaining": Field(
        "integer", "gateway.limit_remaining", "gateway.limit_remaining", "Units left of the tightest enforced limit."
    ),
    "limit_reset_s": Field(
        "number", "gateway.limit_reset_s", "gateway.limit_reset_s", "Seconds until that limit is full again."
    ),
    "retry_after_s": Field("integer", "gateway.retry_after_s", "gateway.retry_after_s", "What `Retry-After` said."),
    "limits": Field(
        "array",
        "gateway.limits",
        "gateway.limits",
        "Every limit asked: `name`, `mode`, `decision`, `limit`, `remaining`, `reset_s`, `cost`.",
    ),
    "cost_settled": Field(
        "boolean",
        "gateway.cost_settled",
        "gateway.cost_settled",
        "Where costs are known only afterwards: whether `cost` is real everywhere; else what was reserved.",
    ),
    "cost_unknown": Field(
        "string",
        "gateway.cost_unknown",
        "gateway.cost_unknown",
        "Why not: no_answer, no_number, encoded, too_large, cut.",
    ),
    "store": Field("string", "labels.store", "gateway.store", "Where it was decided: redis, embedded, local or none."),
    "store_error": Field(
        "string",
        "labels.store_error",
        "gateway.store_error",
        "Only when the store did not decide it: timeout, connect, busy, script, other. `error_detail` says more.",
    ),
    "attempts": Field(
        "array",
        "gateway.attempts",
        "gateway.attempts",
        "Only when there was more than one, or was to be when the call was given up: `n`, `status`, `error_class`, "
        "`upstream_ms`, `wait_ms`, `span_id`, `token_renewed`.",
    ),
    "upstream_status": Field(
        "integer", "gateway.upstream_status", "gateway.upstream_status", "The upstream's own status."
    ),
    "upstream_request_id": Field(
        "string",
        "gateway.upstream_request_id",
        "gateway.upstream_request_id",
        "What the upstream calls the call: its own `X-Request-Id`, where that is not `request_id`.",
    ),
    "upstream_retry_after_s": Field(
        "integer", "gateway.upstream_retry_after_s", "gateway.upstream_retry_after_s", "The upstream's `Retry-After`."
    ),
    "upstream_limit_remaining": Field(
        "integer",
        "gateway.upstream_limit_remaining",
        "gateway.upstream_limit_remaining",
        "What is left by its own rate-limit fields, the least that they name.",
    ),
    "upstream_limit_reset_s": Field(
        "integer",
        "gateway.upstream_limit_reset_s",
        "gateway.upstream_limit_reset_s",
        "Seconds until more is, as they say.",
    ),
    "error_class": Field(
        "string",
        "error.type",
        "error.type",
        "client_error, auth_error, rate_limited, server_error, connect, timeout, tls, client_closed, ...",
    ),
    "error_detail": Field("string", "error.message", "error.message", "What happened, in the gateway's words."),
    "cache": Field("string", "labels.cache", "gateway.cache", "How the route's cache took part: see docs/cache.md."),
    "problem_code": Field("string", "error.code", "gateway.problem.code", "`code` of our problem body."),
    "aborted_by": Field(
        "string", "labels.aborted_by", "gateway.aborted_by", "client, upstream or gateway, when cut short."
    ),
    "sampled_out": Field(
        "integer", "gateway.sampled_out", "gateway.sampled_out", "Lines like this one that were left out before it."
    ),
    "truncated": Field("boolean", "labels.truncated", "gateway.truncated", "true when texts were cut to fit 16 KiB."),
}

EVENT_FIELDS: Mapping[str, Field] = {
    "pid": Field("integer", "process.pid", "process.pid", "Process the event is about."),
    "exception": Field("string", "error.stack_trace", "exception.stacktrace", "Traceback, without variables."),
    "logger": Field("string", "log.logger", "gateway.logger", "Which library logged it."),
    "count": Field("integer", "gateway.count", "gateway.count", "How many."),
    "limit": Field("integer", "gateway.limit_units", "gateway.limit_units", "What `limit_name` allows, in units."),
    "caller": Field(
        "string", "labels.caller", "gateway.caller", "The key parts that a breaker or pause counts by: whose it is."
    ),
    "state_before": Field("string", "labels.state_before", "gateway.state_before", "State of the connection before."),
    "state_before_s": Field("number", "gateway.state_before_s", "gateway.state_before_s", "For how long it was that."),
}

_ATTEMPT_FIELDS: Mapping[str, Field] = {
    "attempt": Field("integer", "gateway.attempt", "gateway.attempt", "Which attempt of the call, from 1."),
    "last_attempt": Field(
        "boolean", "gateway.last_attempt", "gateway.last_attempt", "Whether the caller got its outcome."
    ),
}

FIELDS: Mapping[str, Field] = {**ENVELOPE, **ACCESS_FIELDS, **EVENT_FIELDS, **_ATTEMPT_FIELDS}

CONNECTION_ERROR_FIELDS: Mapping[str, Field] = {
    name: FIELDS[name]
    for name in (
        *("logger", "request_id", "trace_id", "span_id", "method", "route", "operation", "entity"),
        *("tenant", "account", "connection", "upstream", "upstream_addr", "attempt", "last_attempt", "error_class"),
        *("error_detail", "upstream_status", "upstream_retry_after_s", "upstream_ms", "status", "duration_ms"),
    )
}
"""Of the lines of the log of connection errors, besides the envelope."""
