"""RedisStore against a real server: decisions, order, cost in commands, and everything that is sent and forgotten."""

import asyncio
import random
from datetime import UTC

import pytest

from gateway.core.ask import Ask
from gateway.core.calendars import Calendar, Unit
from gateway.core.grant import Grant
from gateway.core.limits import Algorithm, Charge, Decision, Limit
from gateway.store.connection.link import pack
from gateway.store.scripts.sources import ADMIT
from tests.fakes.waiting import turns


async def calls_of(client, command: str) -> int:
    return (await client.info("commandstats")).get(f"cmdstat_{command}", {"calls": 0})["calls"]


async def test_admit_charges_and_peek_does_not(open_store, redis_client, redis_url, make_charge):
    store = await open_store(redis_url)
    asked = [make_charge(2)]
    assert (await store.peek(Ask(asked))).verdicts[0].remaining == 2
    first, second, third = [await store.admit(Ask(asked), "") for _ in range(3)]
    assert isinstance(first, Decision)
    assert (first.admitted, second.admitted, third.admitted) == (True, True, False)
    assert second.verdicts[0].remaining == 0
    assert not (await store.peek(Ask(asked))).admitted
    assert store.up
    assert store.kind == "redis"


async def test_of_no_guards_nothing_is_known_but_the_time(open_store, redis_url):
    now_us, kept = await (await open_store(redis_url)).guards([])
    assert now_us > 0
    assert kept == ()


async def test_one_command_for_a_decision_whatever_it_decides(open_store, redis_client, redis_url, make_charge):
    """As MONITOR sees it, less what the script itself runs inside the server."""
    store = await open_store(redis_url)
    sent = []
    async with redis_client.monitor() as monitor:
        for _ in range(10):
            await store.admit(Ask([make_charge(5, tenant) for tenant in "abcde"]), "")
        await store.ping()
        while "PING" not in sent:
            seen = await monitor.next_command()
            if seen["client_type"] != "lua":
                sent.append(seen["command"].split()[0])
    assert sent == ["EVALSHA"] * 10 + ["PING"]


async def test_many_decisions_at_once_are_few_reads_for_the_server(open_store, redis_client, redis_url, make_charge):
    store = await open_store(redis_url)
    before = (await redis_client.info("stats"))["total_reads_processed"]
    decisions = await asyncio.gather(*(store.admit(Ask([make_charge(500, f"t{i}")]), "") for i in range(60)))
    reads = (await redis_client.info("stats"))["total_reads_processed"] - before
    assert all(decision.admitted for decision in decisions)
    assert reads < 10, "60 commands of one turn of the loop, and the INFO that asks"


async def test_exactly_the_limit_is_admitted_of_many_at_once(open_store, redis_client, redis_url, make_charge):
    stores = [await open_store(redis_url) for _ in range(2)]
    decisions = await asyncio.gather(*(stores[i % 2].admit(Ask([make_charge(100)]), "") for i in range(1_000)))
    assert sum(decision.admitted for decision in decisions) == 100


@pytest.mark.parametrize("protocol", ["", "?protocol=3"])
async def test_what_many_ask_at_once_by_the_same_limits_is_one_command(
    open_store, redis_client, redis_url, make_charge, protocol
):
    """And each hears what it would hear alone: who came first has most left. The log of the window has one entry."""
    store = await open_store(redis_url + protocol)
    ask, others = Ask([make_charge(150)]), {7: Ask([make_charge(150, "other")]), 8: Ask([make_charge(151)])}
    others[9] = Ask([make_charge(150)])  # on another route
    await redis_client.config_resetstat()
    decisions = await asyncio.gather(*(store.admit(others.get(i, ask), "") for i in range(202)))
    assert await calls_of(redis_client, "evalsha") == 2, "the limit of another caller, and another limit"
    assert decisions.pop(8).verdicts[0].remaining == 0, "151, of which 150 are used: its command went out second"
    assert decisions.pop(7).verdicts[0].remaining == 149
    assert [decision.verdicts[0].remaining for decision in decisions] == [*range(149, -1, -1), *[0] * 50]
    assert [decision.admitted for decision in decisions] == [True] * 150 + [False] * 50
    assert await redis_client.strlen("gw:w:{=acme}") < 200
    assert len({decision.now_us for decision in decisions}) == 1


async def test_slots_and_days_are_asked_for_one_by_one(open_store, redis_client, redis_url, make_slot):
    """Each slot has a lease of its own, and what is asked of a calendar changes with time."""
    store = await open_store(redis_url)
    days = Limit("d", Algorithm.FIXED_WINDOW, 50, 86_400_000_000, ("tenant",), calendar=Calendar(Unit.DAY, UTC))
    by_day, slots = Ask([Charge(days, "d:{=acme}", 1)]), Ask([make_slot(50)])
    await redis_client.config_resetstat()
    decisions = await asyncio.gather(
        *(store.admit(slots, f"lease-{i}") for i in range(9)), *(store.admit(by_day, "") for _ in range(9))
    )
    assert [decision.verdicts[0].remaining for decision in decisions] == [*range(49, 40, -1)] * 2
    assert await calls_of(redis_client, "evalsha") == 18


async def test_flushing_the_scripts_costs_no_decision_of_many_at_once(open_store, redis_client, redis_url, make_charge):
    store, ask = await open_store(redis_url), Ask([make_charge(1_000)])
    admitted = 0
    for _ in range(20):
        await redis_client.script_flush()
        decisions = await asyncio.gather(*(store.admit(ask, "") for _ in range(100)))
        admitted += sum(decision.admitted for decision in decisions)
    assert admitted == 1_000
    assert (await store.peek(ask)).verdicts[0].remaining == 0


@pytest.mark.parametrize("seed", range(3))
async def test_callers_that_leave_never_shift_answers(open_store, own_redis_server, make_charge, seed):
    """1,000 decisions on their way while the server is frozen, a random half of the callers leave; every limit has
    numbers of its own, so an answer that went to another caller would show."""
    rng = random.Random(seed)
    store = await open_store(own_redis_server.url)
    own_redis_server.freeze()
    tasks = []
    for i in range(1_000):
        tasks.append(asyncio.ensure_future(store.admit(Ask([make_charge(1_000 + i, f"t{i}")]), "")))
        if rng.random() < 0.1:
            await turns()
    left = set(rng.sample(range(1_000), 500))
    for i in left:
        tasks[i].cancel()
    own_redis_server.thaw()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    for i, answer in enumerate(answers):
        if i in left:
            assert isinstance(answer, asyncio.CancelledError)
        else:
            assert answer.verdicts[0].remaining == 999 + i
    after = await asyncio.gather(*(store.peek(Ask([make_charge(1_000 + i, f"t{i}")])) for i in range(1_000)))
    assert [decision.verdicts[0].remaining for decision in after] == [999 + i for i in range(1_000)], "all were charged"


async def test_a_caller_that_leaves_can_give_its_slot_back(open_store, own_redis_server, make_slot):
    store = await open_store(own_redis_server.url)
    own_redis_server.freeze()
    waiting = asyncio.ensure_future(store.admit(Ask([make_slot(1)]), "lease-1"))
    await turns()
    waiting.cancel()
    store.release([make_slot(1)], "lease-1")
    own_redis_server.thaw()
    assert (await store.admit(Ask([make_slot(1)]), "lease-2")).admitted


async def test_release_and_renew_are_sent_before_a_close(open_store, redis_client, redis_url, make_slot):
    store = await open_store(redis_url)
    assert (await store.admit(Ask([make_slot(1)]), "lease-1")).admitted
    store.renew([make_slot(1)], "lease-1")
    store.release([make_slot(1)], "lease-1")
    await store.close()
    await store.close()
    store = await open_store(redis_url)
    assert (await store.admit(Ask([make_slot(1)]), "lease-2")).admitted


async def test_release_without_concurrency_limits_sends_nothing(open_store, redis_client, redis_url, make_charge):
    store = await open_store(redis_url)
    await redis_client.config_resetstat()
    store.release([make_charge()], "lease")
    store.renew([make_charge()], "lease")
    await store.ping()
    assert await calls_of(redis_client, "evalsha") == 0
    assert await calls_of(redis_client, "ping") == 1


async def test_reset_forgets_one_partition(open_store, redis_client, redis_url, make_charge):
    store = await open_store(redis_url)
    await store.admit(Ask([make_charge(1, "a"), make_charge(1, "b")]), "")
    assert await store.reset(make_charge(1, "a")) is True
    assert await store.reset(make_charge(1, "a")) is False
    assert (await store.peek(Ask([make_charge(1, "a")]))).admitted
    assert not (await store.peek(Ask([make_charge(1, "b")]))).admitted


async def test_keys_carry_the_prefix(open_store, redis_client, redis_url, make_charge):
    store = await open_store(redis_url, key_prefix="mine:")
    await store.admit(Ask([make_charge()]), "")
    keys = await redis_client.keys()
    assert b"mine:w:{=acme}" in keys
    assert all(key.startswith(b"mine:") for key in keys)


async def test_what_a_probe_leaves_behind_goes_away(open_store, redis_client, redis_url):
    await open_store(redis_url)
    (key,) = await redis_client.keys()
    assert key.startswith(b"gw:gateway-probe:")
    assert 0 < await redis_client.pttl(key) < 10_000


async def test_ping_is_a_round_trip(open_store, redis_client, redis_url):
    store = await open_store(redis_url)
    assert await store.ping() > 0


async def test_answers_match_between_push_messages(open_store, redis_client, redis_url, make_charge):
    """RESP3 with the server pushing an invalidation for every key that somebody writes."""
    store = await open_store(f"{redis_url}?protocol=3")
    assert await store._pipeline.ask(pack(("CLIENT", "TRACKING", "ON", "BCAST"))) == b"OK"
    for i in range(20):
        decisions = asyncio.gather(*(store.admit(Ask([make_charge(1_000 + n, f"t{n}")]), "") for n in range(10)))
        await redis_client.set(f"k{i}", i)
        assert [decision.verdicts[0].remaining for decision in await decisions] == [999 + n - i for n in range(10)]


async def test_flushing_the_scripts_under_load_costs_no_decision(
    open_store, redis_client, redis_url, make_charge, make_slot, events
):
    store = await open_store(redis_url)
    admitted = 0
    for _ in range(20):
        await redis_client.script_flush()
        store.release([make_slot()], "nobody")
        decisions = await asyncio.gather(*(store.admit(Ask([make_charge(1_000)]), "") for _ in range(100)))
        admitted += sum(decision.admitted for decision in decisions)
    assert admitted == 1_000, "each decision was charged exactly once"
    assert (await store.peek(Ask([make_charge(1_000)]))).verdicts[0].remaining == 0
    assert set(events.names) == {"store.script_reloaded"}
    assert events.names.count("store.script_reloaded") >= 20
    assert await redis_client.script_exists(ADMIT.sha1_hex) == [True]


RIGHTS = (
    "~gw:* +evalsha +eval +del +ping +select "
    "+time +set +getrange +setrange +pexpire "
    "+zadd +zcount +zrange +zrangebyscore +zrem +zremrangebyscore +zscore"
)
"""What a user of the store needs. `script|load` saves a miss after a restart, and is not needed."""
FOR_GRANTS = " +mget +pttl +rename"


@pytest.mark.parametrize("more", ["", " +script|load"])
async def test_the_rights_a_user_needs(open_store, own_redis_server, make_charge, make_slot, events, more):
    admin = await open_store(own_redis_server.url)
    rule = ("ACL", "SETUSER", "gw", "on", ">pw", *(RIGHTS + more).split())
    assert await admin._pipeline.ask(pack(rule)) == b"OK"
    store = await open_store(own_redis_server.url.replace("unix://", "unix://gw:pw@") + "?db=1")
    bucket = Limit("b", Algorithm.TOKEN_BUCKET, quota=9, window_us=9_000_000, key=("t",), rate=1, per_us=1_000_000)
    fixed = Limit("f", Algorithm.FIXED_WINDOW, quota=9, window_us=9_000_000, key=("t",))
    charges = [make_charge(), make_slot(9), Charge(bucket, "b:{=acme}", 1), Charge(fixed, "f:{=acme}", 1)]
    for lease in ("one", "two", "three"):
        assert (await store.admit(Ask(charges), lease)).admitted
    store.renew(charges, "two")
    store.release(charges, "two")
    assert (await store.peek(Ask(charges))).verdicts[1].remaining == 9 - 2
    assert [await store.reset(charge) for charge in charges] == [True] * 4
    assert await store.ping() > 0
    await admin._pipeline.ask(pack(("ACL", "SETUSER", "gw", *FOR_GRANTS.split())))
    for charge in charges:
        assert (await store.admit(Ask([charge]), "four")).admitted
        assert not await store.grant(charge, Grant(3, 0, "a reason"), 60_000_000)
        assert (await store.admit(Ask([charge]), "five")).quotas == (3,)
        assert (await store.granted(charge))[1].reason == "a reason"
        assert await store.grant(charge, None)
    assert events.names == []
