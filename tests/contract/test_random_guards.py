"""The scripts answer, and remember, as the core does: thousands of random steps on guards, integer for integer.

The seeds are fixed, so a failure can be run again. Times are passed in; keys do not end by the server's clock here.
"""

import random

import pytest
import redis

from gateway.core.ask import Ask
from gateway.core.guards import Breaker, Guard, Pausing, Reason, Report, Standing, State
from gateway.core.guards.breaker import Circuit
from gateway.core.limits import Algorithm, Charge, Limit
from tests.contract.counters import CoreModel, Scripts

START_US = 1_764_000_000_000_000
STEPS = 1500


class World:
    """A few breakers and pauses whose numbers change, calls in flight, and a clock that may step back."""

    def __init__(self, seed: int, most_us: int) -> None:
        self.random = random.Random(seed)
        self.most_us = most_us
        self.now_us = START_US
        self.breakers = [Guard(self.breaker(), f"breaker:b{number}:{{=c}}") for number in range(3)]
        self.pause = Guard(Pausing("p", most_us), "pause:p:{=c}")
        self.out: list[tuple[Guard, Standing]] = []
        self.due_us = [START_US]

    def breaker(self) -> Breaker:
        chance, most_us = self.random, self.most_us
        return Breaker(
            "b",
            ("c",),
            window_us=chance.randint(1, most_us),
            minimum_calls=chance.randint(1, 12),
            failure_ppm=chance.choice((0, 1, 333_333, 500_000, 1_000_000)),
            slow_ppm=chance.choice((0, 0, 500_000)),
            consecutive_failures=chance.choice((0, 2, 5)),
            open_us=chance.randint(1, most_us),
            growth_milli=chance.choice((1000, 1500, 2001)),
            max_open_us=chance.choice((most_us, 3 * most_us)),
            half_open_calls=chance.choice((1, 1, 3)),
            close_after=chance.choice((1, 2, 4)),
            permit_us=chance.randint(1, most_us),
        )

    def pass_time(self) -> None:
        chance = self.random.random()
        if chance < 0.03:
            self.now_us -= self.random.randint(0, 5 * self.most_us)
        elif chance < 0.3:
            self.now_us = self.random.choice(self.due_us) - self.random.randint(0, 1)
        else:
            self.now_us += self.random.choice((0, 1, self.random.randint(0, self.most_us // 10)))

    def ask(self) -> Ask:
        guards = self.random.sample(self.breakers, self.random.choice((1, 1, 2)))
        limit = Limit("l", Algorithm.FIXED_WINDOW, self.random.choice((1, 5, 100)), self.most_us, ("k",))
        charges = [Charge(limit, "limit:{=c}", 1)] if self.random.random() < 0.5 else []
        return Ask(charges, [self.pause, *guards] if self.random.random() < 0.4 else guards)

    def outcome(self) -> Report:
        guard, standing = self.out.pop(self.random.randrange(len(self.out)))
        if standing.probe and self.random.random() < 0.2:
            longer_us = self.random.randint(1, self.most_us)
            self.out.append((guard, standing._replace(probe=standing.probe + longer_us)))
            return Report(guard, standing.generation, standing.probe, longer_us=longer_us)
        passed, failed = self.random.choice(((1, 0), (0, 1), (0, 1), (0, 0), (2, 1), (50, 0)))
        return Report(
            guard, standing.generation, standing.probe, passed, failed, self.random.randint(0, passed + failed)
        )


def step(world: World, counters: tuple[CoreModel, Scripts]) -> str:
    """One thing happens on both; returns what it was. Their answers must be equal."""
    world.pass_time()
    chance, model_and_scripts = world.random.random(), counters
    if chance < 0.02:
        at = world.random.randrange(len(world.breakers))
        world.breakers[at] = replace_rule(world.breakers[at], world.breaker())
        return "changed"
    if chance < 0.05:
        state, for_us = world.random.choice((State.OPEN, State.CLOSED, None)), world.random.randint(1, world.most_us)
        guard = world.random.choice(world.breakers)
        same([one.force(guard, state, for_us, world.now_us) for one in model_and_scripts])
        return "forced"
    if chance < 0.08:
        for_us = world.random.choice((0, world.random.randint(1, 2 * world.most_us)))
        left = world.random.choice((0, 0, world.random.randint(1, 5), 2**40))
        same([one.pause(world.pause, for_us, world.now_us, left) for one in model_and_scripts])
        return "told" if left and for_us else "paused"
    if chance < 0.5 and len(world.out) > 3:
        reports = [world.outcome() for _ in range(world.random.choice((1, 1, 3)))]
        changes = same([one.report(reports, world.now_us) for one in model_and_scripts])
        world.due_us += [world.now_us + change.wait_us for change in changes if change]
        return next((change.reason.name for change in changes if change), "reported")
    ask, commit = world.ask(), world.random.random() < 0.9
    decision = same([one.ask(ask, world.now_us, commit=commit) for one in model_and_scripts])
    standings = decision.standings or (Standing(),) * len(ask.guards)
    world.due_us = [*world.due_us[-6:], *(world.now_us + standing.wait_us for standing in standings)]
    if decision.admitted and commit:
        world.out += [
            (guard, known) for guard, known in zip(ask.guards, standings, strict=True) if guard != world.pause
        ]
        world.out = world.out[-40:]
        if ask.guards[0] == world.pause and standings[0].probe:
            return "permit"
        return "probe" if any(standing.probe for standing in standings) else "admitted"
    return "held" if not decision.verdicts else "refused"


def replace_rule(guard: Guard, breaker: Breaker) -> Guard:
    return Guard(breaker, guard.key)


def same(answers: list) -> object:
    model, scripts = answers
    assert scripts == model
    return model


@pytest.mark.parametrize(("seed", "most_us"), [(1, 100), (2, 60_000_000), (3, 60_000_000), (4, 24 * 3600 * 1_000_000)])
def test_scripts_equal_core(server: "redis.Redis", seed: int, most_us: int) -> None:
    counters = CoreModel(), Scripts(server)
    world = World(seed, most_us)
    happened: dict[str, int] = {}
    for _ in range(STEPS):
        what = step(world, counters)
        happened[what] = happened.get(what, 0) + 1
        guards = [*world.breakers, world.pause]
        assert counters[1].kept(guards) == tuple(map(as_kept, counters[0].kept(guards)))
    wanted = {reason.name for reason in Reason} - {"NONE", "FORCED", "OPEN_TIME_OVER"}
    assert wanted | {"probe", "held", "refused", "admitted", "forced", "paused", "told", "permit"} <= happened.keys(), (
        happened
    )


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_success_upon_success_is_remembered_as_the_core_does(server: "redis.Redis", seed: int) -> None:
    """By far the most reports: more of them in one part of the window are written over the number that is there."""
    chance, counters = random.Random(seed), (CoreModel(), Scripts(server))
    rules = [
        Breaker("b", ("c",), window_us=10_000_019, minimum_calls=9, failure_ppm=400_000, slow_ppm=300_000),
        Breaker("b", ("c",), window_us=20_000_019, minimum_calls=9, failure_ppm=400_000, consecutive_failures=3),
        Breaker("b", ("c",), consecutive_failures=3),
    ]
    guard, now_us, opened = Guard(rules[0], "breaker:b:{=c}"), START_US, 0
    for _ in range(STEPS):
        now_us += chance.choice((0, 1, 1_000, 100_000, 100_000, 700_000, -50_000, chance.choice((0, 9_000_000))))
        if chance.random() < 0.02:
            guard = replace_rule(guard, chance.choice((rules[0], rules[0], *rules)))
        if chance.random() < 0.02:
            same([one.force(guard, None, 0, now_us) for one in counters])
        (standing,) = same([one.ask(Ask((), [guard]), now_us).standings for one in counters]) or (Standing(),)
        passed, failed = chance.choice(
            ((1, 0), (1, 0), (2, 0), (7, 0), (2**29 if chance.random() < 0.01 else 1, 0)) * 5 + ((0, 1), (1, 1))
        )
        slow = chance.randint(0, passed) if chance.random() < 0.03 else 0
        report = Report(guard, standing.generation, standing.probe, passed, failed, slow)
        (change,) = same([one.report([report], now_us) for one in counters])
        opened += change is not None and change.state is State.OPEN
        assert counters[1].kept([guard]) == tuple(map(as_kept, counters[0].kept([guard])))
    assert opened


def as_kept(kept: object) -> object:
    """The scripts forget at once what says nothing; the core goes on holding it."""
    nothing = isinstance(kept, Circuit) and kept.quiet and not kept.tallies.parts
    return Circuit() if nothing else kept
