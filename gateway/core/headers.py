"""Rate-limit fields of an answer, from the decision alone (draft-ietf-httpapi-ratelimit-headers, RFC 9110 §10.2.3).

The policy part of a set of limits never changes, so it is built once per set; only the numbers are formatted
per call. Names are limited to `[A-Za-z0-9._-]` at load time, so plain formatting yields valid structured fields
(RFC 9651); a test parses every field with an independent library.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import ceil
from typing import Any, NamedTuple

from gateway.core.algorithms.fixed_window import window
from gateway.core.ask import Ask, Kind
from gateway.core.limits import Algorithm, Charge, Decision, Limit, Mode, Verdict
from gateway.core.units import SECOND_US

_CONCURRENCY = Algorithm.CONCURRENCY  # before Python 3.12, naming a member costs as much as several of these lines


def whole_seconds(duration_us: int) -> int:
    """Microseconds as seconds, rounded up: waiting that long is never too short."""
    return -(-duration_us // SECOND_US)


def window_s(limit: Limit) -> int:
    """`w`: the window, or a bucket's time to refill, in whole seconds, at least 1."""
    return max(1, whole_seconds(limit.window_us))


def policy_item(limit: Limit) -> str:
    """One item of RateLimit-Policy (draft §3). A concurrency limit has no window and its own quota unit."""
    if limit.algorithm is Algorithm.CONCURRENCY:
        return f'"{limit.name}";q={limit.quota};qu="concurrent-requests"'
    return f'"{limit.name}";q={limit.quota};w={window_s(limit)}'


def seconds_to_more(limit: Limit, verdict: Verdict) -> int:
    """`t`: seconds until more quota, never so short that r/t exceeds q/w (draft §4 and §6); at least 1.

    A limit that has some quota left, but less than a call costs, does not ask for a longer wait than the call needs.
    """
    if limit.algorithm is _CONCURRENCY:
        return max(1, whole_seconds(min(verdict.more_us, SECOND_US)))
    admitted, remaining, _, more_us, retry_us = verdict
    wait_us = -(
        -remaining * limit.window_us // (limit.quota or 1)
    )  # its fair share of the window; a worker may have none
    if not admitted and retry_us < wait_us:
        wait_us = retry_us
    if more_us > wait_us:
        wait_us = more_us
    return -(-wait_us // SECOND_US) or 1


class LimitState(NamedTuple):
    """One visible limit of an answer: shadow limits are never visible."""

    limit: Limit
    verdict: Verdict
    more_s: int


def visible(charges: Sequence[Charge], decision: Decision) -> list[LimitState]:
    """The enforced limits with their verdicts, in order."""
    return [
        LimitState(charge.limit, verdict, seconds_to_more(charge.limit, verdict))
        for charge, verdict in zip(charges, decision.verdicts, strict=True)
        if charge.limit.mode is Mode.ENFORCE
    ]


def tightest(kind: Kind, verdicts: Sequence[Verdict]) -> int:
    """Which of the enforced limits stands for all where only one can, counted from 0; -1 = there is none.

    For a refused call the one that lets it wait longest. Else the one with least left, then the longer window. Slots
    are not measured against others: they come back with calls, not with time, and most often this very call has one.
    """
    found, least = -1, 0
    for index, at, counts in kind.ranked:
        admitted, remaining, _, _, _ = verdicts[at]
        if not admitted:
            return max(range(len(kind.enforced)), key=lambda one: _waits(kind, verdicts, one))
        if counts and (remaining < least or found < 0):
            found, least = index, remaining
    return found


def _waits(kind: Kind, verdicts: Sequence[Verdict], index: int) -> tuple[int, int]:
    at, limit, _ = kind.enforced[index]
    return (0, 0) if verdicts[at].admitted else (wait_s(limit, verdicts[at]), limit.window_us)


def wait_s(limit: Limit, verdict: Verdict) -> int:
    """Seconds until a limit that refuses lets the same call pass, and not before `t` is over (draft §6)."""
    return max(whole_seconds(verdict.retry_us), seconds_to_more(limit, verdict))


def retry_after_s(charges: Sequence[Charge], decision: Decision) -> int:
    """Seconds after which this same call passes every limit that refused it, if nobody else charges; at least 1."""
    waits = [1]
    for charge, verdict in zip(charges, decision.verdicts, strict=True):
        if charge.limit.mode is Mode.ENFORCE and not verdict.admitted:
            waits.append(wait_s(charge.limit, verdict))
    return max(waits)


def surely_refused_us(charges: Sequence[Charge], decision: Decision) -> int:
    """For how long after a refusal the same call is refused by the same limits, whatever other calls do; microseconds.

    What a window or a bucket counts comes back with time alone, and `retry_us` is when, if nobody takes it first. Slots
    are given back at any moment, so a limit on them promises nothing.
    """
    waits = [
        0 if charge.limit.algorithm is Algorithm.CONCURRENCY else verdict.retry_us
        for charge, verdict in zip(charges, decision.verdicts, strict=True)
        if charge.limit.mode is Mode.ENFORCE and not verdict.admitted
    ]
    return min(waits, default=0)


def refusing(kind: Kind, verdicts: Sequence[Verdict]) -> list[int]:
    """The places of the enforced limits that refuse: first the one that lets the call wait longest, then in order."""
    found = [at for at, _ in kind.near_at if not verdicts[at].admitted]
    if len(found) > 1:
        longest = kind.enforced[tightest(kind, verdicts)][0]
        found.remove(longest)
        found.insert(0, longest)
    return found


def used_up_sentence(limit: Limit) -> str:
    """A sentence for the problem's `detail`: numbers of the policy, nothing of the request."""
    return f"Limit {limit.name} ({_numbers(limit)}) is used up."


def too_little_sentence(limit: Limit) -> str:
    """The same where something is left."""
    return f"Limit {limit.name} ({_numbers(limit)}) has less left than this call costs."


def _numbers(limit: Limit) -> str:
    if limit.algorithm is Algorithm.CONCURRENCY:
        return f"{limit.quota} at once"
    if limit.algorithm is Algorithm.TOKEN_BUCKET:
        rate, per_us = limit.said
        return f"{rate} per {per_us / SECOND_US:g} s, burst {limit.quota}"
    if limit.calendar is not None:
        return f"{limit.quota} per {limit.calendar.unit}, {limit.calendar.zone}"
    return f"{limit.quota} per {limit.window_us / SECOND_US:g} s"


def as_of(limit: Limit, now_us: int) -> Limit:
    """The limit with the length of the window in which a moment lies: those of the calendar differ."""
    if limit.calendar is None:
        return limit
    return replace(limit, window_us=window(limit, now_us)[1], overrides=())


class FieldWriter:
    """Formats the rate-limit fields as settings ask for: which families, and how a reset is written.

    With `epoch_reset`, X-RateLimit-Reset is `epoch_s` (the clock now, given per answer) plus the seconds to wait.
    """

    def __init__(self, *, draft: bool, legacy: bool, epoch_reset: bool) -> None:
        self.draft = draft
        self.legacy = legacy
        self.epoch_reset = epoch_reset

    def lines(
        self, ask: Ask, verdicts: Sequence[Verdict], now_us: int = 0, *, epoch_s: int = 0, hide_legacy: bool = False
    ) -> bytes:
        """Complete field lines for the answer to a call that asked this; b"" when no limit is enforced.

        now_us  the decision's, for windows by the calendar
        """
        known: Any = ask.kind.shown
        policy_line, shown = known or self._remember(ask, now_us)
        if not shown:
            return b""
        items = []
        refused, least, longest_us, tight, tight_s = False, -1, 0, shown[0][2], 1
        for position, start, limit, counts in shown:  # as `tightest` does; nothing here is called twice
            verdict = verdicts[position]
            admitted, remaining, _, _, _ = verdict
            more_s = seconds_to_more(limit, verdict)
            items.append(f"{start}{remaining};t={more_s}")
            if not admitted:
                refused = True
            if counts and (least < 0 or remaining < least or (remaining == least and limit.window_us > longest_us)):
                least, longest_us, tight, tight_s = remaining, limit.window_us, limit, more_s
        text = f"{policy_line}RateLimit: {', '.join(items)}\r\n" if self.draft else ""
        if self.legacy and not hide_legacy:
            if refused:
                position, _, tight, _ = shown[tightest(ask.kind, verdicts)]
                least, tight_s = verdicts[position].remaining, wait_s(tight, verdicts[position])
            reset = tight_s + epoch_s
            text += (
                f"X-RateLimit-Limit: {tight.quota}\r\nX-RateLimit-Remaining: {least}\r\nX-RateLimit-Reset: {reset}\r\n"
            )
        return text.encode("ascii")

    def nothing_left(self, for_s: int, now_s: float) -> bytes:
        """Lines of the legacy fields that can be told where nothing is known of a limit but when more is there.

        now_s  seconds since 1970
        """
        if not self.legacy:
            return b""
        reset = for_s + (ceil(now_s) if self.epoch_reset else 0)
        return b"X-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: %d\r\n" % reset

    def _remember(self, ask: Ask, now_us: int) -> tuple[str, Sequence[tuple[int, str, Limit, bool]]]:
        """What is the same for all answers to calls that ask this: the policy line; position and item start of each,
        and whether it can be the tightest.

        With a window by the calendar it is not remembered: the next may be longer.
        """
        limits = [(at, as_of(limit, now_us), counts) for at, limit, counts in ask.kind.enforced]
        line = f"RateLimit-Policy: {', '.join(policy_item(limit) for _, limit, _ in limits)}\r\n"
        known = (line, [(at, f'"{limit.name}";r=', limit, counts) for at, limit, counts in limits])
        if not ask.kind.by_calendar:
            ask.kind.shown = known
        return known
