"""The attempts of a finished call, one by one, as its record tells them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from gateway.core.classes import NO_PLACE
from gateway.record import CallRecord

Entry = Mapping[str, Any]


class Attempt(NamedTuple):
    """One try upstream. `error_class` "" = no error; `status` 0 = no answer; `last` = its outcome is the call's."""

    number: int
    error_class: str
    status: int
    duration_ms: float
    last: bool


def attempts_of(record: CallRecord) -> list[Attempt]:
    """All attempts that say something: not those that found a kept socket closed and were made again at once, nor those
    that were made again with another token, nor a last one for which there was no place. A call never forwarded
    has one too: without class and status it says nothing."""
    entries: list[Entry] = [*(record.attempts or ())]
    if len(entries) > 1 and entries[-1].get("error_class") == NO_PLACE != record.error_class:
        entries.pop()
    if not entries or entries[-1].get("status", 0) != record.upstream_status:
        entries.append({"upstream_ms": round(record.upstream_s * 1e3, 3)})
    last = len(entries)
    return [
        Attempt(
            number,
            record.error_class if number == last else entry.get("error_class", ""),
            record.upstream_status if number == last else entry.get("status", 0),
            entry["upstream_ms"],
            last=number == last,
        )
        for number, entry in enumerate(entries, start=1)
        if number == last or ((entry.get("status") or "wait_ms" in entries[number]) and not entry.get("token_renewed"))
    ]
