"""How one attempt ended, and what the record says of it."""

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.core.classes import NO_PLACE, ErrorClass
from gateway.core.retry import Retry
from gateway.guarding import judged_by
from gateway.upstream.exchange import Exchange
from gateway.upstream.failure import UpstreamFailed
from gateway.upstream.held import HeldAnswer
from gateway.wire.response_head import ResponseHead

if TYPE_CHECKING:
    from gateway.call import Call, Gateway

Answered = Exchange | HeldAnswer


class Tried(NamedTuple):
    """Answered, or with a failure; one of both is None. Both are where the attempt was given up before its end: then
    `given_up` says whose fault that was, as an error class."""

    answered: Answered | None
    failure: UpstreamFailed | None = None
    given_up: str = ""

    @property
    def head(self) -> ResponseHead | None:
        """The answer's; None without an answer."""
        return self.answered.head if self.answered is not None else None

    @property
    def unsent(self) -> bool:
        """Whether there was no place for it at the upstream, which has seen nothing of it."""
        return self.failure is not None and self.failure.error == NO_PLACE

    def worth_another(self, call: "Call", retry: Retry) -> bool:
        """Whether the policy lists this outcome."""
        if self.failure is not None:
            return self.failure.reused or self.failure.error in retry.errors
        return judged_by(call, self.head) in retry.statuses

    def result(self) -> Answered:
        """What is passed on. Raises UpstreamFailed if there is no answer."""
        if self.answered is None:
            assert self.failure is not None, "an attempt ends one way or the other"
            raise self.failure
        return self.answered


def may_repeat(call: "Call", retry: Retry) -> bool:
    """Whether a call of this method, with the key it has or has not, may be sent more than once."""
    return retry.repeats(call.record.method, bool(call.request.head.headers.get("Idempotency-Key")))


def fault(gateway: "Gateway", why: BaseException) -> str:
    """Whose fault it is that an attempt was given up: ours at the end of a drain, else its caller's, who left or
    broke its body off."""
    if isinstance(why, asyncio.CancelledError):
        return "drained" if gateway.cutting else "client_closed"
    return "client_error"


def class_of(call: "Call", ended: Tried) -> ErrorClass | None:
    """The error class of an attempt; None for a success."""
    classes = call.policies.classes
    error = ended.failure
    return classes.errors[error.error] if error is not None else classes.statuses.get(judged_by(call, ended.head))


def outcome(call: "Call", ended: Tried) -> str:
    """The name of an attempt's error class; "" for a success."""
    error_class = class_of(call, ended)
    return ended.given_up or (error_class.name if error_class is not None else "")


def note(
    call: "Call", ended: Tried, upstream_s: float, waited_s: float = 0.0, queued_s: float = 0.0, span_id: str = ""
) -> None:
    """Put an attempt into the record: `attempts` of the log line."""
    attempts = call.record.attempts = call.record.attempts or []
    entry: dict[str, Any] = {"n": len(attempts) + 1}
    if ended.head is not None:
        entry["status"] = ended.head.status
    if error := outcome(call, ended):
        entry["error_class"] = error
    entry["upstream_ms"] = round(upstream_s * 1e3, 3)
    if waited_s:
        entry["wait_ms"] = round(waited_s * 1e3, 3)
    if queued_s:
        entry["queue_ms"] = round(queued_s * 1e3, 3)
    if span_id:
        entry["span_id"] = span_id
    attempts.append(entry)
