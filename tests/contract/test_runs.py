"""Calls that one run of the script decides together hear, and leave behind, what they would one after the other."""

import random
from collections import Counter as Tally
from collections.abc import Sequence

import pytest
import redis
from redis.exceptions import ResponseError

from gateway.core.ask import Ask
from gateway.core.guards import Breaker, Guard, Pausing, Report
from gateway.core.limits import Algorithm, Charge, Decision, Limit, Mode
from gateway.store.connection.faults import fault_of
from gateway.store.connection.link import pack
from gateway.store.scripts import admissions as admissions_module
from gateway.store.scripts.admissions import Admissions
from gateway.store.scripts.limits import Argument, decode_several, encode_admit
from gateway.store.scripts.sources import ADMIT
from tests.contract import test_random_guards as random_guards
from tests.contract.counters import PREFIX, CoreModel, Scripts
from tests.contract.test_random_sequences import START_US, Climate, Step, World, take
from tests.contract.test_timelines import bucket

STEPS = 1_500

Callers = Sequence[tuple[Ask, int]]
"""Who are asked the same, and how many calls each of them makes."""


def together(callers: Callers, now_us: int) -> list[Argument]:
    """The arguments that ask for them all."""
    each = [encode_admit(ask, "", prefix=PREFIX, commit=True, now_us=now_us) for ask, _ in callers]
    (count,) = {arguments[0] for arguments in each}
    (rules,) = {tuple(arguments[count + 4 :]) for arguments in each}
    keys = [key for arguments in each for key in arguments[1 : count + 1]]
    times = b"".join([calls.to_bytes(2, "big") for _, calls in callers])
    return [len(keys), *keys, "several", now_us, times, *rules]


def ask_several(scripts: Scripts, callers: Callers, now_us: int) -> list[Decision | Exception]:
    """What each call hears, caller by caller, from one run of the script."""
    return decode_several(scripts._run(ADMIT, together(callers, now_us)), callers)


def ask_for(scripts: Scripts, ask: Ask, times: int, now_us: int) -> tuple[list[Decision | Exception], int]:
    """(what each of so many calls hears, how many runs they were), from one run of the script."""
    reply = scripts._run(ADMIT, together([(ask, times)], now_us))
    return decode_several(reply, [(ask, times)]), len(reply[0]) // 2 if times > 1 else 1


def kept(client: "redis.Redis", charge: Charge) -> bytes:
    """All but when a bucket's key ends: that is put off by some charges, for long enough."""
    packed: bytes = client.get(PREFIX + charge.key)
    return packed[:21] if charge.limit.algorithm is Algorithm.TOKEN_BUCKET else packed


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
        assert kept(server, together) == kept(server, alone)


def test_a_shadow_without_room_does_not_part_calls(server: "redis.Redis") -> None:
    """It is charged for as many as it has room for, and then for none: two runs."""
    window = Limit("x", Algorithm.ROLLING_WINDOW, 50, 600_000_000, ("k",))
    shadow = Limit("y", Algorithm.FIXED_WINDOW, 5, 600_000_000, ("k",), mode=Mode.SHADOW)
    decisions, runs = ask_for(Scripts(server), Ask([Charge(window, "x", 1), Charge(shadow, "y", 1)]), 20, START_US)
    assert runs == 2
    assert all(decision.admitted for decision in decisions)
    assert [decision.verdicts[0].remaining for decision in decisions] == list(range(49, 29, -1))
    assert [decision.verdicts[1].admitted for decision in decisions] == [True] * 5 + [False] * 15


def test_remembered_of_a_run_is_what_its_last_call_was_told(server: "redis.Redis") -> None:
    ask = Ask([Charge(bucket(burst=50, rate=7), "b", 1)])
    decisions, runs = ask_for(Scripts(server), ask, 3, START_US)
    assert runs == 1
    assert ask.seen == decisions[-1]


def test_a_counted_pause_lets_so_many_through(server: "redis.Redis") -> None:
    scripts, pause = Scripts(server), Guard(Pausing("p", 60_000_000), "pause:p")
    window = Charge(Limit("x", Algorithm.ROLLING_WINDOW, 50, 600_000_000, ("k",)), "x", 1)
    scripts.pause(pause, 30_000_000, START_US, 3)
    decisions, runs = ask_for(scripts, Ask([window], [pause]), 10, START_US)
    assert [decision.admitted for decision in decisions] == [True] * 3 + [False] * 7
    assert runs == 4


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_several_callers_hear_what_each_would_alone(server: "redis.Redis", seed: int) -> None:
    """Callers who share some of their limits, in any order: each decision is what the core says after those before."""
    chance, scripts, model = random.Random(seed), Scripts(server), CoreModel()
    window = Limit("w", Algorithm.ROLLING_WINDOW, 30, 60_000_000, ("k",))
    bucket = Limit("b", Algorithm.TOKEN_BUCKET, 9, 9_000_000, ("k",), rate=1, per_us=1_000_000)
    breaker, now_us, seen = Breaker("v", ("k",), consecutive_failures=3), START_US, Tally[str]()

    def caller(number: int) -> Ask:
        charges = Charge(window, f"w:{number // 2}", 1), Charge(bucket, f"b:{number}", 1)
        return Ask(charges, [Guard(Pausing("p", 60_000_000), f"pause:{number}"), Guard(breaker, f"breaker:{number}")])

    asks = [caller(number) for number in range(8)]
    for _ in range(STEPS // 3):
        now_us += chance.choice((1, 1_000, 400_000, 1_000_000))
        whom = chance.choice(asks)
        match chance.randrange(12):
            case 0:
                for counter in (model, scripts):
                    counter.pause(whom.guards[0], 3_000_000, now_us, seed)
            case 1:
                for counter in (model, scripts):
                    counter.report([Report(whom.guards[1], 0, 0, failed=3)], now_us)
        callers = [(ask, chance.choice((1, 1, 2, 12))) for ask in chance.sample(asks, chance.randint(1, 8))]
        alone = [model.ask(ask, now_us) for ask, times in callers for _ in range(times)]
        assert ask_several(scripts, callers, now_us) == alone
        for decision in alone:
            seen["admitted" if decision.admitted else "refused" if decision.verdicts else "held"] += 1
    assert min(seen[what] for what in ("admitted", "refused", "held")) > STEPS // 100, seen


def test_an_error_is_its_callers_own(server: "redis.Redis") -> None:
    """What no gateway wrote and nobody can read: the script fails there, and goes on with the next caller."""
    scripts, limit = Scripts(server), Limit("x", Algorithm.ROLLING_WINDOW, 50, 600_000_000, ("k",))
    before, broken, behind = (Ask([Charge(limit, name, 1)]) for name in ("before", "broken", "behind"))
    scripts.ask(broken, START_US)
    capacity_head_count_oldest = (bytes(4), bytes(4), b"\0\0\0\5", b"\0\0\0\0\0\1")
    server.setrange(f"{PREFIX}broken", 35, b"".join(capacity_head_count_oldest))
    with pytest.raises(ResponseError):
        scripts.ask(broken, START_US)
    first, second, *errors, last = ask_several(scripts, [(before, 2), (broken, 2), (behind, 1)], START_US)
    assert [isinstance(error, ResponseError) for error in errors] == [True, True]
    heard = [decision.verdicts[0].remaining for decision in (first, second, last) if isinstance(decision, Decision)]
    assert heard == [49, 48, 49]


def test_a_full_server_refuses_only_those_who_would_be_charged(server: "redis.Redis") -> None:
    scripts, limit = Scripts(server), Limit("x", Algorithm.FIXED_WINDOW, 50, 600_000_000, ("k",))
    new, used_up, another = (Ask([Charge(limit, name, 50)]) for name in ("new", "used up", "another"))
    scripts.ask(used_up, START_US)
    callers = [(new, 1), (used_up, 1), (another, 1)]
    server.config_set("maxmemory", 1)
    try:
        reply = server.execute_command("EVALSHA", ADMIT.sha1_hex, *together(callers, START_US))
    finally:
        server.config_set("maxmemory", 0)
    first, second, third = decode_several(reply, callers)
    assert [fault_of(str(error)).detail[:26] for error in (first, third)] == ["OOM command not allowed wh"] * 2
    assert isinstance(second, Decision)
    assert not second.admitted


def test_how_a_command_asks_for_several() -> None:
    """As the worker writes it, from pieces, and as the protocol's library does."""
    limit = Limit("x", Algorithm.FIXED_WINDOW, 50, 600_000_000, ("k",))
    asks = [Ask([Charge(limit, f"x:{name}", 1)], [Guard(Pausing("p", 1), f"p:{name}")]) for name in ("a", "bé")]
    admissions = Admissions(PREFIX)
    (form,) = {admissions.form(ask) for ask in asks}
    once = encode_admit(asks[1], "", prefix=PREFIX, commit=True)
    assert form.once(asks[1]) == pack(("EVALSHA", ADMIT.sha1_hex, *once))
    callers = [(asks[0], 1), (asks[1], 250)]
    assert form.several(callers) == pack(("EVALSHA", ADMIT.sha1_hex, *together(callers, 0)))


def test_who_is_asked_something_else_has_another_form() -> None:
    admissions, limit = Admissions(PREFIX), Limit("x", Algorithm.FIXED_WINDOW, 50, 600_000_000, ("k",))
    asks = [
        Ask([Charge(limit, "x", 1)]),
        Ask([Charge(limit, "x", 2)]),
        Ask([Charge(limit, "x", 1), Charge(limit, "y", 1)]),
        Ask([Charge(limit, "x", 1)], [Guard(Pausing("p", 1), "p")]),
    ]
    assert len({admissions.form(ask) for ask in asks}) == 4


def test_forms_are_forgotten_before_they_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admissions_module, "_MOST_FORMS", 2)
    admissions = Admissions(PREFIX)
    asks = [Ask([Charge(Limit("x", Algorithm.FIXED_WINDOW, quota, 60, ("k",)), "x", 1)]) for quota in (1, 2, 3, 1)]
    assert len({id(admissions.form(ask)) for ask in asks}) == 4
    assert len(admissions._forms) <= 2


def test_a_reply_for_others_is_an_error() -> None:
    ask = Ask([Charge(Limit("x", Algorithm.FIXED_WINDOW, 50, 600_000_000, ("k",)), "x", 1)])
    reply = ask.kind.answers.pack(1, 99, True, 4, 60, 5, 0)
    with pytest.raises(ValueError, match="3 decisions in the reply for 4 calls"):
        decode_several([[3, reply]], [(ask, 4)])
    with pytest.raises(ValueError, match="shorter"):
        decode_several([reply], [(ask, 1), (ask, 1)])
