"""Every answer the gateway makes itself: one table from situation to status, problem type, code and Proxy-Status.

RFC 9457 (problem details), RFC 9209 (Proxy-Status error types), draft-ietf-httpapi-ratelimit-headers §5 (types).
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"
REDUCED_CAPACITY = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
OWN = "own:"
"""Prefix of types below the configured `problem_base`."""


class Kind(NamedTuple):
    """One row of the table. `type` is absolute, `about:blank`, or `own:<slug>`."""

    status: int
    type: str
    title: str
    code: str
    proxy_error: str


RATE_LIMIT = Kind(429, QUOTA_EXCEEDED, "Quota exceeded", "RATE_LIMIT_EXCEEDED", "http_request_denied")
CONCURRENCY = Kind(429, QUOTA_EXCEEDED, "Too many calls at once", "CONCURRENCY_LIMIT_EXCEEDED", "http_request_denied")
PAUSED = Kind(429, QUOTA_EXCEEDED, "The upstream wants no calls yet", "UPSTREAM_RATE_LIMITED", "http_request_denied")
CIRCUIT_OPEN = Kind(503, OWN + "circuit-open", "The circuit is open", "CIRCUIT_OPEN", "destination_unavailable")
STORE_DOWN = Kind(
    503, OWN + "store-unavailable", "Limits cannot be checked", "RATE_LIMIT_STORE_UNAVAILABLE", "proxy_internal_error"
)
KEY_MISSING = Kind(
    400, OWN + "key-missing", "A required key is missing", "RATE_LIMIT_KEY_MISSING", "http_request_denied"
)
UNAUTHENTICATED = Kind(401, OWN + "unauthenticated", "Not authenticated", "UNAUTHENTICATED", "http_request_denied")
FORBIDDEN = Kind(403, OWN + "forbidden", "Not allowed", "FORBIDDEN", "http_request_denied")
AUTHENTICATION_UNAVAILABLE = Kind(
    503,
    OWN + "authentication-unavailable",
    "Credentials cannot be checked",
    "AUTHENTICATION_UNAVAILABLE",
    "proxy_internal_error",
)
SANDBOX_NO_FIXTURE = Kind(
    404, OWN + "no-fixture", "The sandbox has no such sample", "SANDBOX_NO_FIXTURE", "http_request_denied"
)
SANDBOX_INVALID = Kind(422, OWN + "invalid-call", "The call is not valid", "SANDBOX_INVALID", "http_request_denied")
CREDENTIALS_MISSING = Kind(
    403, OWN + "credentials-missing", "No credentials for this connection", "CREDENTIALS_MISSING", "http_request_denied"
)
CREDENTIALS_REFUSED = Kind(
    502,
    OWN + "credentials-refused",
    "The gateway's credentials are refused",
    "CREDENTIALS_REFUSED",
    "http_request_denied",
)
CREDENTIALS_UNAVAILABLE = Kind(
    503,
    OWN + "credentials-unavailable",
    "The gateway has no token for the upstream now",
    "CREDENTIALS_UNAVAILABLE",
    "destination_unavailable",
)
INTAKE_FULL = Kind(503, OWN + "intake-full", "Too many webhooks wait", "INTAKE_FULL", "connection_limit_reached")
INTAKE_UNAVAILABLE = Kind(
    503, OWN + "intake-unavailable", "Webhooks cannot be kept", "INTAKE_UNAVAILABLE", "proxy_internal_error"
)
NO_ROUTE = Kind(404, "about:blank", "No route", "NO_ROUTE", "destination_not_found")
LOOP = Kind(502, "about:blank", "Loop detected", "PROXY_LOOP", "proxy_loop_detected")
OVERLOADED = Kind(503, REDUCED_CAPACITY, "Too many calls in flight", "GATEWAY_BUSY", "connection_limit_reached")
NOT_CACHED = Kind(504, "about:blank", "Not in the cache", "NOT_CACHED", "http_request_denied")
INTERNAL = Kind(500, "about:blank", "Internal error", "INTERNAL_ERROR", "proxy_internal_error")

_BAD_HEADS = {
    400: ("Bad request", "BAD_REQUEST"),
    405: ("Method not allowed", "METHOD_NOT_ALLOWED"),
    408: ("Request timeout", "REQUEST_TIMEOUT"),
    413: ("Content too large", "CONTENT_TOO_LARGE"),
    414: ("URI too long", "URI_TOO_LONG"),
    417: ("Expectation failed", "EXPECTATION_FAILED"),
    431: ("Request header fields too large", "HEADERS_TOO_LARGE"),
    501: ("Not implemented", "NOT_IMPLEMENTED"),
    505: ("HTTP version not supported", "HTTP_VERSION_NOT_SUPPORTED"),
}
BAD_REQUESTS = {
    status: Kind(status, "about:blank", title, code, "http_request_error")
    for status, (title, code) in _BAD_HEADS.items()
}

_BODY_STATUS = {"malformed": 400, "too_large": 413, "timeout": 408, "closed": 400}
_BODY_DETAIL = {
    "malformed": "The request body breaks the chunked transfer coding.",
    "too_large": "The request body is larger than this gateway accepts.",
    "timeout": "The request body came too slowly.",
    "closed": "The request body ended early.",
}

_UNREACHABLE = "The upstream could not be reached"
_LATE = "The upstream took too long"
DETAILS = {"dns": "The name of the upstream does not lead to an address that may be used."}
"""What there is to say to a caller beyond the title, by the same word as `UPSTREAM_PROBLEMS`."""
UPSTREAM_PROBLEMS = {
    "dns": Kind(502, "about:blank", _UNREACHABLE, "UPSTREAM_DNS", "dns_error"),
    "dns_timeout": Kind(504, "about:blank", _LATE, "UPSTREAM_DNS", "dns_timeout"),
    "refused": Kind(502, "about:blank", _UNREACHABLE, "UPSTREAM_UNREACHABLE", "connection_refused"),
    "reset": Kind(502, "about:blank", _UNREACHABLE, "UPSTREAM_UNREACHABLE", "connection_terminated"),
    "closed": Kind(502, "about:blank", _UNREACHABLE, "UPSTREAM_UNREACHABLE", "connection_terminated"),
    "connect_timeout": Kind(504, "about:blank", _LATE, "UPSTREAM_TIMEOUT", "connection_timeout"),
    "first_byte_timeout": Kind(504, "about:blank", _LATE, "UPSTREAM_TIMEOUT", "http_response_timeout"),
    "idle_timeout": Kind(504, "about:blank", _LATE, "UPSTREAM_TIMEOUT", "connection_read_timeout"),
    "total_timeout": Kind(504, "about:blank", _LATE, "UPSTREAM_TIMEOUT", "http_response_timeout"),
    "tls_certificate": Kind(502, "about:blank", "TLS failed", "UPSTREAM_TLS", "tls_certificate_error"),
    "tls_protocol": Kind(502, "about:blank", "TLS failed", "UPSTREAM_TLS", "tls_protocol_error"),
    "malformed": Kind(
        502, "about:blank", "The upstream's answer is malformed", "UPSTREAM_INVALID", "http_protocol_error"
    ),
    "busy": Kind(503, REDUCED_CAPACITY, "The upstream is busy", "UPSTREAM_BUSY", "connection_limit_reached"),
}


@dataclass(slots=True)
class Refusal:
    """An answer of ours, as a value. `detail` is a sentence of ours, never input.

    source        value of the record's response_source
    extra_fields  (name, value) of further fields of the answer
    written       for whoever writes it: what is the same in the answers to all calls of one caller that get this one
    """

    kind: Kind
    detail: str
    source: str = "gateway"
    retry_after_s: int = 0
    violated: tuple[str, ...] = ()
    extra_fields: tuple[tuple[str, str], ...] = field(default=())
    written: Any = field(default=None, compare=False, repr=False)


def bad_request(status: int, detail: str) -> Refusal:
    """A refusal for a malformed or oversized request."""
    return Refusal(BAD_REQUESTS[status], detail)


def body_problem(reason: str) -> Refusal:
    """The refusal for a request body that failed: reason malformed, too_large, timeout or closed."""
    return bad_request(_BODY_STATUS[reason], _BODY_DETAIL[reason])


def document(refusal: Refusal, *, base: str, request_id: str, connection_id: str) -> dict[str, object]:
    """The members of the problem body (RFC 9457 §3.1 and our extension members), in the order shown to people."""
    kind = refusal.kind
    type_ = kind.type
    if type_.startswith(OWN):
        slug = type_.removeprefix(OWN)
        type_ = "about:blank" if base == "about:blank" else f"{base.rstrip('/')}/{slug}"
    members: dict[str, object] = {
        "type": type_,
        "title": kind.title,
        "status": kind.status,
        "detail": refusal.detail,
        "instance": f"urn:request:{request_id}",
    }
    if refusal.violated:
        members["violated-policies"] = list(refusal.violated)
    members["code"] = kind.code
    if refusal.retry_after_s:
        members["retry_after"] = refusal.retry_after_s
    members["request_id"] = request_id
    if connection_id:
        members["connection_id"] = connection_id
    return members
