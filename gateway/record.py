"""What is known about one call when it ends. Filled by the stages, handed once to every sink.

A field that was never set is omitted from the log line: the class attributes are the "unknown" values. Names and units
are those of `docs/logs.md`.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from gateway.core.ask import NOTHING, Ask
from gateway.core.limits import Charge, Decision
from gateway.core.measure import Heard


class CallRecord:
    """One call. Plain attributes (not a dataclass): one is made per call and most keep their default.

    Times are `time.monotonic()` seconds; durations derived by `gateway.observe.log.line` are milliseconds.
    """

    notes: dict[Any, Any] | None = None
    """Where sinks may keep what follows from all that is known of a call when it has been
    identified, but for `OWN` and `CALLER`: the same mapping for all calls that are alike in it."""

    # accept
    request_id: str = ""
    trace_id: str = ""
    span_id: str = ""
    trace_flags: str = ""  # 01, 03: recorded
    parent_span_id: str = ""  # the caller's; "" = the trace begins here
    method: str = ""
    target: str = ""  # raw target, query included; sinks remove the query unless told otherwise
    scheme: str = "http"
    http_host: str = ""
    protocol: str = "HTTP/1.1"
    peer_ip: str = ""
    client_ip: str = ""
    user_agent: str = ""
    referer: str = ""
    started: float = 0.0  # monotonic; the head was complete
    ended: float = 0.0  # monotonic; the last byte was handed to the socket
    # identify
    route: str = ""
    upstream: str = ""
    upstream_addr: str = ""
    operation: str = ""
    entity: str = ""
    tenant: str = ""
    account: str = ""
    connection: str = ""
    auth_scheme: str = ""  # the scheme that knows the caller
    auth_key: str = ""  # names the key it knows the caller by, never the credential
    policy_version: str = ""
    # admit
    ask: Ask = NOTHING
    decision: Decision | None = None
    verdict: str = "unlimited"  # allowed | limited | shadow_limited | held | skipped | unlimited
    limit_fired: str = ""
    retry_after_s: int = 0
    breaker: str = ""
    breaker_state: str = ""  # closed | open | half_open
    store: str = "none"  # redis | embedded | local | none
    store_error: str = ""  # why the store did not decide: timeout | connect | busy | script | other
    # forward
    attempts: list[dict[str, Any]] | None = None  # only when more than one
    upstream_status: int = 0
    judged_status: int = 0  # what an error of the upstream is taken for (429: see learn_limits); 0 = no error
    upstream_request_id: str = ""  # its own; "" = none, or it is ours
    upstream_retry_after_s: int = 0
    upstream_limit_remaining: int | None = None
    upstream_limit_reset_s: int = 0
    error_class: str = ""
    error_detail: str = ""
    # answer
    status: int = 0
    response_source: str = "gateway"  # upstream | limit | breaker | pause | cache | sandbox | gateway
    cache: str = ""  # how the route's cache took part: a word of docs/cache.md
    code: str = ""  # `code` member of our problem body
    bytes_in: int = 0
    bytes_out: int = 0
    aborted_by: str = ""  # client | upstream | gateway
    # settle, where costs are known only then
    heard: Heard | None = None  # of the answer's body
    costs: dict[str, int] | None = None  # real ones by limit, as far as they are known
    cost_unknown: str = ""  # why one is not: no_answer | no_number | encoded | too_large | cut
    # seconds spent, parts of ended - started
    store_s: float = 0.0
    queue_s: float = 0.0
    upstream_s: float = 0.0
    retry_wait_s: float = 0.0

    @property
    def charges(self) -> Sequence[Charge]:
        """What each limit was asked for."""
        return self.ask.charges


OWN = ("method", "target", "request_id", "trace_id", "span_id", "trace_flags", "parent_span_id", "started")
"""What each call has of its own when it has been identified; all that is known by then besides is common to calls with
the same fields from the same peer on the same route."""

CALLER = ("tenant", "account", "connection")
"""What each caller has of its own."""


UNKNOWN = {name: vars(CallRecord)[name] for name in CallRecord.__annotations__}
"""The attributes of a record of which nothing is known. What begins with a copy of it is cheaper to fill and to read
than one that gets its attributes one by one."""


class RecordSink(Protocol):
    """Takes each finished call exactly once. Must not raise and must not block."""

    def emit(self, record: CallRecord) -> None: ...
