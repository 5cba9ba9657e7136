"""Windows by the calendar on the functions, the local store and a real server: the same days everywhere."""

import random
import time
from collections.abc import Iterator

import pytest
import redis

from gateway.core.algorithms.fixed_window import window
from gateway.core.ask import Ask
from gateway.core.calendars import Unit, borders_us, window_at
from gateway.core.limits import Charge, Decision, Limit
from gateway.core.settlement import Correction
from gateway.store.cluster.store import ClusterStore
from gateway.store.redis import RedisStore
from gateway.store.scripts.limits import decode_admit, encode_admit, encode_settle
from gateway.store.scripts.sources import ADMIT, SETTLE
from tests.contract.counters import PREFIX, CoreModel, Counter, Scripts, queue
from tests.core.calendar_cases import DAY_US, HOUR_US, ZONES, at_us, by_calendar
from tests.core.limit_cases import fixed

STEPS, BATCH = 4000, 250
BERLIN = "Europe/Berlin"


def asked(limit: Limit, cost: int = 1) -> tuple[Charge]:
    return (Charge(limit, "l:{=acme}", cost),)


@pytest.mark.parametrize(
    ("day", "hours"), [("2026-03-28", 24), ("2026-03-29", 23), ("2026-10-25", 25)], ids=["usual", "short", "long"]
)
def test_a_day_ends_at_local_midnight(counter: Counter, day: str, hours: int) -> None:
    limit, midnight_us = by_calendar(quota=2), at_us(day, BERLIN)
    (verdict,) = counter.admit(asked(limit, 2), "", midnight_us).verdicts
    assert verdict == (True, 0, hours * HOUR_US, hours * HOUR_US, 0)
    (verdict,) = counter.admit(asked(limit), "", midnight_us + hours * HOUR_US - 1).verdicts
    assert verdict == (False, 0, 1, 1, 1)
    assert counter.admit(asked(limit), "", midnight_us + hours * HOUR_US).verdicts[0].remaining == 1


def test_the_evening_before_is_another_day(counter: Counter) -> None:
    limit, midnight_us = by_calendar(quota=2), at_us("2026-03-29", BERLIN)
    assert counter.admit(asked(limit, 2), "", midnight_us - 1).verdicts[0].reset_us == 1
    assert counter.admit(asked(limit, 2), "", midnight_us).admitted


def test_months_have_their_own_lengths(counter: Counter) -> None:
    limit = by_calendar(Unit.MONTH, "UTC", quota=1)
    for month, days in (("2024-02", 29), ("2025-02", 28), ("2025-04", 30), ("2025-12", 31)):
        (verdict,) = counter.admit(asked(limit), "", at_us(f"{month}-01")).verdicts
        assert verdict == (True, 0, days * DAY_US, days * DAY_US, 0)


def test_what_a_duration_counted_goes_on_in_the_day(counter: Counter) -> None:
    """`window: 1d` becomes `window: day`: the same counter, what was used since local midnight counts."""
    now_us = at_us("2026-06-01T12:00", BERLIN)
    assert counter.admit(asked(fixed(5, DAY_US), 4), "", now_us).admitted
    assert counter.admit(asked(by_calendar(quota=5)), "", now_us + 1).verdicts[0].remaining == 0


def test_what_was_too_much_comes_back_in_the_window_of_the_charge_only(counter: Counter) -> None:
    """A day of 25 hours: its last hour is still the same window, the next midnight is not."""
    limit, midnight_us = by_calendar(quota=9), at_us("2026-10-25", BERLIN)
    (charge,) = asked(limit, 8)
    assert counter.admit([charge], "", midnight_us).verdicts[0].remaining == 1
    counter.settle([Correction(charge, -3)], midnight_us, midnight_us + 25 * HOUR_US - 1)
    assert counter.peek([charge], midnight_us + 25 * HOUR_US - 1).verdicts[0].remaining == 4
    now_us = midnight_us + 25 * HOUR_US
    assert counter.admit([charge], "", now_us).verdicts[0].remaining == 1
    counter.settle([Correction(charge, -3)], now_us - 1, now_us)
    assert counter.peek([charge], now_us).verdicts[0].remaining == 1
    counter.settle([Correction(charge, 1)], now_us - 1, now_us)
    assert counter.peek([charge], now_us).verdicts[0].remaining == 0


def any_limit(chance: random.Random) -> Limit:
    if chance.random() < 0.2:
        return fixed(chance.randint(1, 5), chance.choice((DAY_US, 7 * DAY_US)))
    return by_calendar(chance.choice(list(Unit)), chance.choice(ZONES), chance.randint(1, 5))


def steps(chance: random.Random) -> Iterator[tuple[tuple[Charge], int]]:
    """Calls around borders, and clock steps to both sides, through the years in which something happens."""
    limit, now_us = any_limit(chance), at_us("2011-12-20")
    for _ in range(STEPS):
        if chance.random() < 0.02:
            limit = any_limit(chance)
        if chance.random() < 0.01:
            now_us = at_us(chance.choice(("2010-11-06", "2011-12-28", "2024-02-27", "2026-03-28", "2026-10-24")))
        begin_us, length_us = window(limit, now_us)
        now_us = chance.choice(
            (now_us, now_us + 1, now_us + HOUR_US, now_us - HOUR_US, begin_us + length_us, begin_us + length_us - 1)
        )
        yield asked(limit, chance.randint(1, limit.quota)), now_us


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_script_equals_the_core(server: "redis.Redis", seed: int) -> None:
    """Some calls are put right when the next one comes: a step later, or a month."""
    Scripts(server)  # loads them
    chance = random.Random(seed)
    model, all_steps = CoreModel(), list(steps(chance))
    admitted, last_us = 0, all_steps[0][1]
    for begin in range(0, STEPS, BATCH):
        asks: list[tuple[Ask, int, Decision]] = []
        with server.pipeline(transaction=True) as pipe:
            for charges, now_us in all_steps[begin : begin + BATCH]:
                if chance.random() < 0.2:
                    correction = [Correction(charges[0], chance.randint(-3, 3))]
                    model.settle(correction, last_us, now_us)
                    queue(pipe, SETTLE, encode_settle(correction, last_us, PREFIX, now_us=now_us))
                asks.append((Ask(charges), now_us, model.ask(Ask(charges), now_us)))
                queue(pipe, ADMIT, encode_admit(asks[-1][0], "", prefix=PREFIX, commit=True, now_us=now_us))
                last_us = now_us
            replies = [reply for reply in pipe.execute() if isinstance(reply, bytes)]
        for (ask, now_us, expected), reply in zip(asks, replies, strict=True):
            assert decode_admit(reply, ask) == expected, (ask.charges, now_us)
            admitted += expected.admitted
    assert STEPS // 10 < admitted < STEPS * 9 // 10


@pytest.mark.parametrize("unit", list(Unit))
def test_a_gateway_whose_clock_is_wrong_sends_borders_that_hold(server: "redis.Redis", unit: Unit) -> None:
    """What they say is proved in the core's tests; the script reads them alike, also beyond the last one."""
    scripts, limit = Scripts(server), by_calendar(unit, quota=1)
    assert limit.calendar is not None
    ask = Ask(asked(limit))
    for ahead_us in (hours * HOUR_US for hours in (-90 * 24, -49, -25, -1, 0, 1, 25, 49, 90 * 24)):
        for now_us in range(at_us("2026-03-01T00:30"), at_us("2026-04-20"), 3 * DAY_US):
            scripts.reset(ask.charges[0].key)
            begin_us, length_us = window_at(borders_us(limit.calendar, now_us + ahead_us), now_us)
            arguments = encode_admit(ask, "", prefix=PREFIX, commit=True, now_us=now_us, ahead_us=ahead_us)
            decision = decode_admit(scripts._run(ADMIT, arguments), ask)
            assert decision.verdicts[0].reset_us == begin_us + length_us - now_us


async def test_the_borders_move_on_with_the_time_while_the_ask_is_kept(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller is remembered for days; the server's clock decides, and ours is a year behind it, then right."""
    ask, store = Ask(asked(by_calendar(Unit.DAY, "Asia/Kathmandu"))), RedisStore(redis_url, key_prefix="calendar:")
    real = time.time_ns
    monkeypatch.setattr("gateway.store.scripts.admissions.time_ns", lambda: real() - 365 * DAY_US * 1000)
    monkeypatch.setattr("gateway.store.scripts.limits.time_ns", lambda: real() - 365 * DAY_US * 1000)
    await store.start()
    try:
        await store.admit(ask, "")
        sent = sent_borders(store, ask)
        now_us = (await store.admit(ask, "")).now_us
        assert sent == borders_us(ask.charges[0].limit.calendar, now_us)
        monkeypatch.undo()
        store._admissions.ahead_us = 10 * DAY_US
        assert sent_borders(store, ask)[0] > now_us
        await store.admit(ask, "")
        assert sent_borders(store, ask) == sent
    finally:
        await store.reset(ask.charges[0])
        await store.close()


@pytest.mark.parametrize("kind", ["one server", "a cluster"])
async def test_the_first_call_of_a_gateway_whose_clock_is_years_off_knows_the_month(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a host that has no clock of its own: its months began on other days, and with them everybody's counts."""
    ask, store = Ask(asked(by_calendar(Unit.MONTH))), a_store(kind, request)
    real = time.time_ns
    for room in ("admissions", "limits"):
        monkeypatch.setattr(f"gateway.store.scripts.{room}.time_ns", lambda: real() - 20 * 365 * DAY_US * 1000)
    await store.start()
    try:
        sent = sent_borders(store, ask)
        assert sent == borders_us(ask.charges[0].limit.calendar, (await store.peek(ask)).now_us)
    finally:
        await store.close()


def a_store(kind: str, request: pytest.FixtureRequest) -> RedisStore | ClusterStore:
    if kind == "one server":
        return RedisStore(request.getfixturevalue("redis_url"), key_prefix="calendar:")
    return ClusterStore(request.getfixturevalue("redis_cluster").url, key_prefix="calendar:")


def sent_borders(store: RedisStore | ClusterStore, ask: Ask) -> tuple[int, ...]:
    """What the next admission would say."""
    command = store._admissions.write(ask, "", commit=True)[0]
    packed = command[:-2].rpartition(b"\r\n$70\r\n")[2][28:]
    return tuple(int.from_bytes(packed[at : at + 7], "big") for at in range(0, len(packed), 7))


async def test_other_asks_are_packed_once(redis_url: str) -> None:
    store = RedisStore(redis_url, key_prefix="calendar:")
    plain, dated = Ask(asked(fixed())), Ask(asked(by_calendar()))
    await store.start()
    try:
        for ask in (plain, dated):
            await store.admit(ask, "")
        assert plain.packed is not None
        assert dated.packed is None
    finally:
        for ask in (plain, dated):
            await store.reset(ask.charges[0])
        await store.close()


def test_the_key_ends_with_the_window(server: "redis.Redis") -> None:
    Scripts(server)
    ask = Ask(asked(by_calendar(Unit.MONTH, "UTC")))
    reply = server.evalsha(ADMIT.sha1_hex, *encode_admit(ask, "", prefix=PREFIX, commit=True))
    reset_ms = decode_admit(reply, ask).verdicts[0].reset_us // 1000
    assert 0 < server.pttl(PREFIX + ask.charges[0].key) <= reset_ms + 101
