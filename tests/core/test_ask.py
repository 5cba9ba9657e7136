"""What is worked out once for all calls of a caller."""

from dataclasses import replace

from gateway.core.ask import NOTHING, Ask, UsedUp
from gateway.core.guards import Breaker, Guard
from gateway.core.limits import Algorithm, Charge, Decision, Limit, Mode, Override, Verdict
from gateway.core.problems import RATE_LIMIT, Refusal

WINDOW = Limit("window", Algorithm.ROLLING_WINDOW, 500, 600_000_000, ("tenant",))
SHADOW = Limit("tighter", Algorithm.ROLLING_WINDOW, 5, 1_000_000, ("tenant",), mode=Mode.SHADOW)
SLOTS = Limit("parallel", Algorithm.CONCURRENCY, 8, 60_000_000, ("connection",))
GUARD = Guard(Breaker("vendor", ("connection",)), "breaker:vendor:{=c}")


def charges(*limits: Limit) -> list[Charge]:
    return [Charge(limit, limit.name, 1) for limit in limits]


def test_what_follows_from_the_limits() -> None:
    ask = Ask(charges(SHADOW, WINDOW, SLOTS))
    assert ask.kind.names == ("tighter", "window", "parallel")
    assert ask.kind.near_at == ((1, 100), (2, 1))
    assert (ask.kind.shadows, ask.kind.takes_slots, ask.empty) == (True, True, False)
    plain = Ask(charges(WINDOW))
    assert (plain.kind.shadows, plain.kind.takes_slots, plain.empty) == (False, False, False)


def test_callers_who_are_asked_the_same_share_what_follows_from_it() -> None:
    ask, other = Ask([Charge(WINDOW, "a", 1)]), Ask([Charge(WINDOW, "b", 1)])
    assert ask.kind is other.kind
    assert Ask([Charge(WINDOW, "a", 2)]).kind is not ask.kind
    assert Ask(charges(SHADOW)).kind is not ask.kind


def test_callers_are_told_what_was_written_not_what_counts_alike() -> None:
    by_the_second = Limit("bucket", Algorithm.TOKEN_BUCKET, 20, 20_000_000, ("tenant",), rate=1, per_us=1_000_000)
    by_the_minute = replace(by_the_second, times=60)
    assert by_the_second == by_the_minute
    assert Ask(charges(by_the_second)).kind is not Ask(charges(by_the_minute)).kind


def test_what_follows_from_a_limit_is_found_without_a_look_at_its_overrides() -> None:
    class Looked(Override):
        def __hash__(self) -> int:
            raise AssertionError("of ten thousand overrides this takes as long as a hundred calls")

    mine = replace(WINDOW, overrides=(Looked((("tenant", "acme"),), replace(WINDOW, quota=9)),)).for_caller({})
    assert Ask(charges(mine)).kind is Ask(charges(WINDOW)).kind


def test_a_breaker_is_asked_with_the_limits_or_is_each_workers_own() -> None:
    assert Ask((), (GUARD,), breaker=GUARD).own is None
    assert Ask((), breaker=GUARD).own is GUARD
    assert not Ask((), breaker=GUARD).empty
    assert NOTHING.empty


def test_a_refusal_that_holds_keeps_what_it_said() -> None:
    decision = Decision(False, (Verdict(False, 0, 5, 5, 5),), 1)
    refusal = Refusal(RATE_LIMIT, "Limit window is used up.", "limit", retry_after_s=1, violated=("window",))
    known = UsedUp(2.5, decision, refusal)
    assert (known.until_s, known.decision, known.refusal, known.lines) == (2.5, decision, refusal, b"")


def test_what_the_store_said_last_is_kept_small() -> None:
    ask = Ask(charges(WINDOW, SHADOW))
    assert ask.seen is None
    verdicts = (Verdict(True, 499, 600_000_000, 1, 0), Verdict(False, 0, 1_000_000, 7, 999_999))
    said = Decision(True, verdicts, 1_700_000_000_000_000)
    ask.see(said)
    assert ask.seen == said
    ask.see(said._replace(quotas=(700, 0)))
    assert ask.seen == said._replace(quotas=(700, 0))
    refused = Decision(False, (verdicts[0]._replace(admitted=False), verdicts[1]), 1)
    ask.see(refused)
    assert ask.seen == refused


def test_a_grant_that_was_seen_may_have_numbers_to_show() -> None:
    ask = Ask(charges(WINDOW))
    ask.see(Decision(True, (Verdict(True, 1, 1, 1, 0),), 99))
    assert not ask.watched
    ask.see(Decision(True, (Verdict(True, 1, 1, 1, 0),), 99, quotas=(7,)))
    assert ask.watched
