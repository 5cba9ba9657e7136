"""Rate-limit fields of an answer, from the decision alone (draft-ietf-httpapi-ratelimit-headers, RFC 9110 §10.2.3).

The policy part of a set of limits never changes, so it is built once per set; only the numbers are formatted
per call. Names are limited to `[A-Za-z0-9._-]` at load time, so plain formatting yields valid structured fields
(RFC 9651); a test parses every field with an independent library.
"""

from collections.abc import Sequence
from typing import NamedTuple

from gateway.core.limits import Algorithm, Charge, Decision, Limit, Mode, Verdict

SECOND_US = 1_000_000
MAX_POLICY_LINES = 10_000


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
    if limit.algorithm is Algorithm.CONCURRENCY:
        return max(1, whole_seconds(min(verdict.more_us, SECOND_US)))
    fair_share_us = -(-verdict.remaining * limit.window_us // limit.quota)
    if not verdict.admitted:
        fair_share_us = min(fair_share_us, verdict.retry_us)
    return max(1, whole_seconds(max(verdict.more_us, fair_share_us)))


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


def tightest(states: Sequence[LimitState]) -> LimitState:
    """The one the legacy fields show: least remaining, then the longer window. `states` is not empty."""
    best = states[0]
    for state in states:
        left, least = state.verdict.remaining, best.verdict.remaining
        if left < least or (left == least and state.limit.window_us > best.limit.window_us):
            best = state
    return best


def retry_after_s(charges: Sequence[Charge], decision: Decision) -> int:
    """Whole seconds after which this same call passes every limit that refused it, if nobody else charges; at least 1.

    Not earlier than `t` of any violated limit (draft §6).
    """
    waits = [1]
    for charge, verdict in zip(charges, decision.verdicts, strict=True):
        if charge.limit.mode is Mode.ENFORCE and not verdict.admitted:
            waits.append(max(whole_seconds(verdict.retry_us), seconds_to_more(charge.limit, verdict)))
    return max(waits)


def violated(charges: Sequence[Charge], decision: Decision) -> list[Limit]:
    """The enforced limits that refused."""
    return [
        charge.limit
        for charge, verdict in zip(charges, decision.verdicts, strict=True)
        if charge.limit.mode is Mode.ENFORCE and not verdict.admitted
    ]


def used_up(limit: Limit) -> str:
    """A sentence for the problem's `detail`: numbers of the policy, nothing of the request."""
    if limit.algorithm is Algorithm.CONCURRENCY:
        return f"Limit {limit.name} ({limit.quota} at once) is used up."
    if limit.algorithm is Algorithm.TOKEN_BUCKET:
        per_s = limit.per_us / SECOND_US
        return f"Limit {limit.name} ({limit.rate} per {per_s:g} s, burst {limit.quota}) is used up."
    return f"Limit {limit.name} ({limit.quota} per {limit.window_us / SECOND_US:g} s) is used up."


class FieldWriter:
    """Formats the rate-limit fields as settings ask for: which families, and how a reset is written.

    With `epoch_reset`, X-RateLimit-Reset is `epoch_s` (the clock now, given per answer) plus the seconds to wait.
    """

    def __init__(self, *, draft: bool, legacy: bool, epoch_reset: bool) -> None:
        self.draft = draft
        self.legacy = legacy
        self.epoch_reset = epoch_reset
        # Keyed by identity (hashing a Limit costs more than the formatting); holding the limits keeps the ids theirs.
        self._policy_lines: dict[tuple[int, ...], tuple[str, list[Limit]]] = {}

    def lines(self, states: Sequence[LimitState], *, epoch_s: int = 0, hide_legacy: bool = False) -> bytes:
        """Complete field lines for an answer on which these limits apply; b"" for none."""
        if not states:
            return b""
        text = self._policy_line(states) if self.draft else ""
        if self.draft:
            items = ", ".join([f'"{limit.name}";r={verdict.remaining};t={more_s}' for limit, verdict, more_s in states])
            text += f"RateLimit: {items}\r\n"
        if self.legacy and not hide_legacy:
            limit, verdict, more_s = states[0] if len(states) == 1 else tightest(states)
            text += (
                f"X-RateLimit-Limit: {limit.quota}\r\nX-RateLimit-Remaining: {verdict.remaining}\r\n"
                f"X-RateLimit-Reset: {more_s + epoch_s if self.epoch_reset else more_s}\r\n"
            )
        return text.encode("ascii")

    def _policy_line(self, states: Sequence[LimitState]) -> str:
        key = tuple([id(state[0]) for state in states])
        known = self._policy_lines.get(key)
        if known is None:
            limits = [state.limit for state in states]
            line = f"RateLimit-Policy: {', '.join(map(policy_item, limits))}\r\n"
            if len(self._policy_lines) >= MAX_POLICY_LINES:
                self._policy_lines.clear()
            known = self._policy_lines[key] = (line, limits)
        return known[0]
