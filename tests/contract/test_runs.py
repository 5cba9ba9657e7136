"""Calls that one run of the script decides together hear, and leave behind, what they would one after the other."""

import random
from collections import Counter as Tally
from collections.abc import Sequence

import pytest
import redis

from gateway.core.ask import Ask
from gateway.core.guards import Guard, Pausing
from gateway.core.limits import Algorithm, Charge, Decision, Limit, Mode
from gateway.store.connection.commands import repeated
from gateway.store.connection.link import pack
from gateway.store.scripts.limits import ADMIT, decode_runs, encode_admit
from tests.contract import test_random_guards as random_guards
from tests.contract.counters import PREFIX, CoreModel, Scripts
from tests.contract.test_random_sequences import START_US, Climate, Step, World, take

STEPS = 1_500


def ask_for(scripts: Scripts, ask: Ask, times: int, now_us: int) -> tuple[list[Decision], int]:
    """(what each of so many calls hears, how many runs they were), from one run of the script."""
    arguments = [*encode_admit(ask, "", prefix=PREFIX, commit=True, now_us=now_us), times]
    reply = scripts._run(ADMIT, arguments)
    return decode_runs(reply, (ask, times)), len(reply) // 2


def kept(client: "redis.Redis", charges: Sequence[Charge]) -> list[bytes | None]:
    return [client.dump(PREFIX + charge.key) for charge in charges]


@pytest.mark.parametrize(
    "climate",
    [
        Climate(1, 3, 600_000_000),
        Climate(2, 40, 600_000_000),
        Climate(3, 12, 40),
        Climate(4, 400, 600_000_000, dear=0.05, change=0.001, leaps=0.01),
        Climate(5, 1_000_000, 24 * 3600 * 1_000_000),
    ],
    ids=lambda climate: f"seed-{climate.seed}",
)
def test_scripts_equal_core(server: "redis.Redis", climate: Climate) -> None:
    scripts, model, world = Scripts(server), CoreModel(), World(climate)
    chance, seen = random.Random(climate.seed), Tally[str]()
    for step in world.steps(STEPS):
        slots = any(charge.limit.algorithm is Algorithm.CONCURRENCY for charge in step.charges)
        if step.op != "admit" or slots:
            answer = take(model, step)
            assert take(scripts, step) == answer, step
            if isinstance(answer, Decision):
                world.hear(step, answer)
            continue
        times = chance.choice((1, 2, 3, chance.randint(1, 50)))
        alone = [model.admit(step.charges, step.lease, step.now_us) for _ in range(times)]
        decisions, runs = ask_for(scripts, Ask(step.charges), times, step.now_us)
        assert decisions == alone, step
        world.hear(Step("admit", step.charges, step.lease, step.now_us), alone[-1])
        seen["all"] += alone[-1].admitted
        seen["none"] += not alone[0].admitted
        seen["some"] += alone[0].admitted and not alone[-1].admitted
        seen["granted"] += bool(alone[-1].quotas)
        seen["together"] += runs < times
    assert all(seen[what] > STEPS // 100 for what in ("all", "none", "some", "together")), seen
    assert seen["granted"]


@pytest.mark.parametrize("seed", [1, 2])
def test_guards_equal_core(server: "redis.Redis", seed: int) -> None:
    """Only what an admission changes is decided call by call: probes, and pauses that let some through."""
    scripts, model, world = Scripts(server), CoreModel(), random_guards.World(seed, 60_000_000)
    seen = Tally[str]()
    for _ in range(STEPS):
        random_guards.step(world, (model, scripts))
        ask, times = world.ask(), world.random.choice((2, 5, 20))
        alone = [model.ask(ask, world.now_us) for _ in range(times)]
        decisions, runs = ask_for(scripts, ask, times, world.now_us)
        assert decisions == alone
        seen["held"] += not alone[0].verdicts and not alone[0].admitted
        seen["probes"] += alone[0].admitted and alone[0] != alone[-1] and bool(alone[0].standings)
        seen["standing, together"] += bool(alone[0].admitted and alone[0].standings and runs < times)
    assert min(seen.values()) > STEPS // 100, seen


@pytest.mark.parametrize(
    "limit",
    [
        Limit("x", Algorithm.ROLLING_WINDOW, 50, 600_000_000, ("k",)),
        Limit("x", Algorithm.ROLLING_WINDOW, 50, 600_000_000, ("k",), quantum_us=10_000_000),
        Limit("x", Algorithm.TOKEN_BUCKET, 50, 17_000_000, ("k",), rate=3, per_us=1_000_000),
        Limit("x", Algorithm.FIXED_WINDOW, 50, 600_000_000, ("k",)),
    ],
    ids=["exact", "precise", "bucket", "fixed"],
)
def test_the_same_bytes_are_left_behind(server: "redis.Redis", limit: Limit) -> None:
    scripts = Scripts(server)
    together, alone = (Charge(limit, key, 2) for key in ("together", "alone"))
    for at, times in enumerate((3, 7, 1, 20)):
        now_us = START_US + at * 1_234_567
        decisions, runs = ask_for(scripts, Ask([together]), times, now_us)
        assert decisions == [scripts.admit([alone], "", now_us) for _ in range(times)]
        assert runs == 1 + (times == 20)
        assert kept(server, [together]) == kept(server, [alone])


def test_a_shadow_without_room_does_not_part_calls(server: "redis.Redis") -> None:
    """It is charged for as many as it has room for, and then for none: two runs."""
    window = Limit("x", Algorithm.ROLLING_WINDOW, 50, 600_000_000, ("k",))
    shadow = Limit("y", Algorithm.FIXED_WINDOW, 5, 600_000_000, ("k",), mode=Mode.SHADOW)
    decisions, runs = ask_for(Scripts(server), Ask([Charge(window, "x", 1), Charge(shadow, "y", 1)]), 20, START_US)
    assert runs == 2
    assert all(decision.admitted for decision in decisions)
    assert [decision.verdicts[0].remaining for decision in decisions] == list(range(49, 29, -1))
    assert [decision.verdicts[1].admitted for decision in decisions] == [True] * 5 + [False] * 15


def test_a_counted_pause_lets_so_many_through(server: "redis.Redis") -> None:
    scripts, pause = Scripts(server), Guard(Pausing("p", 60_000_000), "pause:p")
    window = Charge(Limit("x", Algorithm.ROLLING_WINDOW, 50, 600_000_000, ("k",)), "x", 1)
    scripts.pause(pause, 30_000_000, START_US, 3)
    decisions, runs = ask_for(scripts, Ask([window], [pause]), 10, START_US)
    assert [decision.admitted for decision in decisions] == [True] * 3 + [False] * 7
    assert runs == 4


def test_how_a_command_asks_for_several() -> None:
    ask = Ask([Charge(Limit("x", Algorithm.FIXED_WINDOW, 50, 600_000_000, ("k",)), "x", 1)])
    arguments = encode_admit(ask, "", prefix="gw:", commit=True)
    once = pack(("EVALSHA", ADMIT.sha1_hex, *arguments))
    assert repeated(once, 1000) == pack(("EVALSHA", ADMIT.sha1_hex, *arguments, 1000))


def test_a_reply_for_others_is_an_error() -> None:
    ask = Ask([Charge(Limit("x", Algorithm.FIXED_WINDOW, 50, 600_000_000, ("k",)), "x", 1)])
    with pytest.raises(ValueError, match="3 decisions in the reply for 4 calls"):
        decode_runs([3, [1, 99, 1, 4, 60, 5, 0]], (ask, 4))
