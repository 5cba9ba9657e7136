"""Limits on the wire: how the scripts are told of charges, and what they answer.

`store/lua/admit.lua` is the description of the format; a test holds its header and the names here together.
"""

from collections.abc import Sequence
from struct import Struct
from time import time_ns
from typing import Any

from gateway.core.algorithms.bounds import out_of_bounds
from gateway.core.ask import Ask
from gateway.core.calendars import borders_us
from gateway.core.decision import check_distinct, units
from gateway.core.grant import MAX_GRANT_US, Grant, under
from gateway.core.limits import Algorithm, Charge, Decision, Limit, Mode, Verdict
from gateway.core.runs import Run, told
from gateway.core.settlement import Correction
from gateway.core.tuples import made
from gateway.store.connection.link import Argument
from gateway.store.scripts.guards import decode_standings, pack_guards

ADMIT_ARGV = ("op", "now_us", "lease", "guards")
RULE_FIELDS = (("algorithm", 1), ("enforced", 1), ("cost", 4), ("quota", 4), ("window_us", 6), ("a", 6), ("b", 6))
ADMIT_REPLY = (("admitted", 1), ("now_us", 8))
VERDICT_FIELDS = (("admitted", 1), ("remaining", 8), ("reset_us", 8), ("more_us", 8), ("retry_us", 8))
HEAD = Struct(">Bq")
HELD = 2
"""`reply.admitted` when a guard holds the call back."""
GRANTS_FOLLOW = 4
"""`reply.admitted` is so much more when some limit is under a grant."""
_GRANTED = 0x71
RELEASE_ARGV, RELEASE_REPLY = ("op", "lease"), ("released",)
RENEW_ARGV, RENEW_REPLY = ("op", "now_us", "lease"), ("renewed",)
GRANT_ARGV, GRANT_REPLY = ("op", "now_us", "quota", "for_us", "reason"), ("existed",)
SETTLE_ARGV, SETTLE_REPLY = ("op", "now_us", "at_us"), ("settled",)

_CODES = {
    Algorithm.ROLLING_WINDOW: 1,
    Algorithm.TOKEN_BUCKET: 2,
    Algorithm.FIXED_WINDOW: 3,
    Algorithm.CONCURRENCY: 4,
}
_MOST_RULES = 10_000


_rules: dict[tuple[int, int], tuple[Limit, bytes]] = {}
"""(identity of the limit, cost) to the packed rule. Holding the limit keeps its identity from being used again."""


def encode_admit(
    ask: Ask, lease: str, *, prefix: str, commit: bool, now_us: int = 0, ahead_us: int = 0
) -> list[Argument]:
    """The arguments of ADMIT after the sha: number of keys, keys, ARGV.

    commit    False = peek: the decision and the uncharged present, changing nothing
    now_us    0 = the server's clock; anything else is for tests
    ahead_us  by how much the server's clock is believed to be ahead of ours. It matters to windows by the calendar, and
              only if it is wrong by more than two of them: the borders around that time are sent

    Raises ValueError for a partition asked twice, a cost below 1, or a limit that is out of bounds.
    """
    keys = [prefix + guard.key for guard in ask.guards] + [prefix + charge.key for charge in ask.charges]
    check_distinct(keys)
    op = "admit" if commit else "peek"
    rules = [_rule(limit, cost) for limit, _, cost in ask.charges]
    if ask.kind.by_calendar:
        dates = [_borders(limit, now_us, ahead_us) for limit, _, _ in ask.charges]
        rules = [rule + dated for rule, dated in zip(rules, dates, strict=True)]
    return [len(keys), *keys, op, now_us, lease, pack_guards(ask.guards), *rules]


def decode_admit(reply: bytes, ask: Ask) -> Decision:
    """The decision in ADMIT's reply; the ask remembers what was told about its limits. Raises ValueError when the reply
    does not fit what was asked."""
    kind = ask.kind
    if len(reply) != kind.answers.size:
        return _decode_more(reply, ask)
    numbers = kind.answers.unpack(reply)
    ask.told = reply
    verdicts = tuple([made(Verdict, numbers[at : at + 5]) for at in kind.verdicts])
    decision: Decision = made(Decision, (numbers[0] == 1, verdicts, numbers[1], (), ()))
    return decision


def _decode_more(reply: bytes, ask: Ask) -> Decision:
    """There is something to say about guards or grants, or nothing about limits."""
    code, answers = reply[0] if reply else 0, ask.kind.answers
    quotas = Struct(f">{len(ask.charges)}I" if code & GRANTS_FOLLOW else ">")
    code &= ~GRANTS_FOLLOW
    end, last = HEAD.size if code == HELD else answers.size, len(reply) - quotas.size
    if last < end:
        raise ValueError(f"{len(reply)} bytes in the reply for {len(ask.charges)} limits")
    standings = decode_standings(reply[end:last], len(ask.guards))
    if code == HELD:
        return Decision(False, (), HEAD.unpack_from(reply)[1], standings)
    numbers = answers.unpack_from(reply)
    given = quotas.unpack_from(reply, last)
    ask.see_packed(reply[:end], given)
    verdicts = tuple([Verdict(*numbers[at : at + 5]) for at in ask.kind.verdicts])
    return Decision(code == 1, verdicts, numbers[1], standings, given)


def decode_several(reply: Sequence[Any], asked: Sequence[tuple[Ask, int]]) -> list[Decision | Exception]:
    """What each call is told in ADMIT's reply to several callers, each of whom makes so many; or the server's error for
    that caller. ValueError as with `decode_admit`."""
    answers: list[Decision | Exception] = []
    for (ask, times), answer in zip(asked, reply, strict=True):
        if isinstance(answer, Exception):
            answers += [answer] * times
        elif times == 1:
            answers.append(decode_admit(answer, ask))
        else:
            answers += _decode_runs(answer, ask, times)
    return answers


def _decode_runs(reply: Sequence[Any], ask: Ask, times: int) -> list[Decision]:
    decisions: list[Decision] = []
    for at in range(0, len(reply), 2):
        last = decode_admit(reply[at + 1], ask)
        charges = under(ask, last.quotas).charges if last.quotas else ask.charges
        decisions += told(Run(reply[at], last), charges)
        if last.verdicts:
            ask.see(decisions[-1])  # in a run's reply one number is not yet what callers are told
    if len(decisions) != times:
        raise ValueError(f"{len(decisions)} decisions in the reply for {times} calls")
    return decisions


def encode_release(charges: Sequence[Charge], lease: str, prefix: str) -> list[Argument] | None:
    """The arguments of RELEASE after the sha; None when no concurrency limit is among `charges`."""
    held = _concurrency(charges)
    if not held:
        return None
    keys = [prefix + charge.key for charge in held]
    return [len(keys), *keys, "release", lease, *[units(limit, cost) for limit, _, cost in held]]


def encode_renew(charges: Sequence[Charge], lease: str, prefix: str, *, now_us: int = 0) -> list[Argument] | None:
    """The arguments of RENEW after the sha; None when no concurrency limit is among `charges`."""
    held = _concurrency(charges)
    if not held:
        return None
    keys = [prefix + charge.key for charge in held]
    pairs = [number for limit, _, cost in held for number in (units(limit, cost), limit.window_us)]
    return [len(keys), *keys, "renew", now_us, lease, *pairs]


def encode_settle(
    corrections: Sequence[Correction], at_us: int, prefix: str, *, now_us: int = 0, ahead_us: int = 0
) -> list[Argument]:
    """The arguments of SETTLE after the sha; `ahead_us` and what is raised are as with `encode_admit`."""
    keys = [prefix + charge.key for charge, _ in corrections]
    check_distinct(keys)
    pairs = [
        part
        for (limit, _, cost), delta in corrections
        for part in (_rule(limit, cost) + _borders(limit, now_us, ahead_us), delta)
    ]
    return [len(keys), *keys, "settle", now_us, at_us, *pairs]


def encode_grant(
    charge: Charge, grant: Grant | None, for_us: int, prefix: str, *, op: str = "grant", now_us: int = 0
) -> list[Argument]:
    """The arguments of GRANT after the sha."""
    quota, reason = (grant.quota, grant.reason) if grant is not None else (0, "")
    return [1, prefix + charge.key, op, now_us, quota, min(for_us, MAX_GRANT_US), reason]


def unpack_grant(packed: bytes | None, now_us: int) -> Grant | None:
    """The grant that a partition's string holds, if it holds one that has not ended."""
    if not packed or packed[0] != _GRANTED:
        return None
    quota, until_us = int.from_bytes(packed[1:5], "big"), int.from_bytes(packed[5:12], "big")
    return Grant(quota, until_us, packed[12:].decode("utf-8", "replace")) if until_us > now_us else None


def _concurrency(charges: Sequence[Charge]) -> list[Charge]:
    return [charge for charge in charges if charge.limit.algorithm is Algorithm.CONCURRENCY]


def _rule(limit: Limit, cost: int) -> bytes:
    """The packed rule; packed once for each limit and cost."""
    known = _rules.get((id(limit), cost))
    if known is None:
        if len(_rules) >= _MOST_RULES:
            _rules.clear()
        known = _rules[id(limit), cost] = (limit, _pack_rule(limit, cost))
    return known[1]


def _borders(limit: Limit, now_us: int, ahead_us: int) -> bytes:
    """What follows the rule of a limit by the calendar: the borders of its windows around the time; else nothing."""
    if limit.calendar is None:
        return b""
    about_us = (now_us or time_ns() // 1000) + ahead_us
    return b"".join([border_us.to_bytes(7, "big") for border_us in borders_us(limit.calendar, about_us)])


def _pack_rule(limit: Limit, cost: int) -> bytes:
    problem = out_of_bounds(limit)
    if problem:
        raise ValueError(f"limit {limit.name}: {problem}")
    bucket = limit.algorithm is Algorithm.TOKEN_BUCKET
    values = (
        _CODES[limit.algorithm],
        int(limit.mode is Mode.ENFORCE),
        units(limit, cost),
        limit.quota,
        limit.window_us,
        limit.rate if bucket else limit.quantum_us,
        limit.per_us if bucket else 0,
    )
    return b"".join(value.to_bytes(size, "big") for value, (_, size) in zip(values, RULE_FIELDS, strict=True))
