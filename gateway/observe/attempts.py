"""The attempts of a finished call, one by one, as its record tells them."""

from typing import NamedTuple

from gateway.record import CallRecord


class Attempt(NamedTuple):
    """One try upstream. `error_class` "" = no error; `status` 0 = no answer; `last` = its outcome is the call's."""

    number: int
    error_class: str
    status: int
    duration_ms: float
    last: bool


def attempts_of(record: CallRecord) -> list[Attempt]:
    """All attempts, also when the record lists only those before the last one. A call that was never forwarded has
    one too: without class and status it says nothing."""
    listed = [
        Attempt(number, one.get("error_class", ""), one.get("status", 0), one.get("upstream_ms", 0.0), last=False)
        for number, one in enumerate(record.attempts or (), start=1)
    ]
    if listed and (listed[-1].error_class, listed[-1].status) == (record.error_class, record.upstream_status):
        return [*listed[:-1], listed[-1]._replace(last=True)]
    earlier_ms = sum(one.duration_ms for one in listed) + record.retry_wait_s * 1e3
    own_ms = max(0.0, round(record.upstream_s * 1e3 - earlier_ms, 3))
    return [*listed, Attempt(len(listed) + 1, record.error_class, record.upstream_status, own_ms, last=True)]
