"""The scripts answer as the core does: tens of thousands of random steps, every integer of every reply.

The seeds are fixed, so a failure can be run again. Times are passed in; keys do not end by the server's clock here
(see test_key_lifetimes.py), the core does not forget them either.
"""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
import redis

from gateway.core.ask import Ask
from gateway.core.grant import Grant
from gateway.core.limits import Algorithm, Charge, Decision, Limit, Mode
from gateway.core.settlement import Correction
from gateway.store.scripts.limits import (
    decode_admit,
    encode_admit,
    encode_grant,
    encode_release,
    encode_renew,
    encode_settle,
)
from gateway.store.scripts.sources import ADMIT, GRANT, RELEASE, RENEW, SETTLE
from tests.contract.counters import CoreModel, Counter, Scripts, queue
from tests.contract.whole_stores import WholeStore

START_US = 1_764_000_000_000_000
STEPS = 5000
BATCH = 250
TENANTS = ("a", "b", "d")


@dataclass(frozen=True)
class Step:
    """One thing that happens: `op` is admit, peek, release, renew, settle, reset or grant.

    deltas  what it settles; what is granted (0 = taken back) and for how long
    """

    op: str
    charges: tuple[Charge, ...]
    lease: str
    now_us: int
    deltas: tuple[int, ...] = ()
    at_us: int = 0

    @property
    def corrections(self) -> list[Correction]:
        return [Correction(charge, delta) for charge, delta in zip(self.charges, self.deltas, strict=True)]


@dataclass(frozen=True)
class Climate:
    """What kind of sequence it is.

    dear     share of calls that cost more than one unit
    change   share of steps at which a limit gets other numbers
    leaps    share of steps before which the time jumps
    partitions  how many there are; the first is always a rolling window
    back     share of leaps that go back; 0 = the clock never does
    tenants  among whom they are: of a cluster, each is on another server
    """

    seed: int
    most_units: int
    most_window_us: int
    dear: float = 0.3
    change: float = 0.03
    leaps: float = 0.25
    partitions: int = 6
    back: float = 0.1
    tenants: int = 1


class World:
    """Makes up limits, calls and times. The model's answers are fed back, to hit the moments that matter."""

    def __init__(self, climate: Climate) -> None:
        self.random = random.Random(climate.seed)
        self.climate = climate
        self.most_units = climate.most_units
        self.most_window_us = climate.most_window_us
        self.keys = [f"limit-{number}:{{={TENANTS[number % climate.tenants]}}}" for number in range(climate.partitions)]
        self.limits = {key: self.limit(self.random.choice(list(Algorithm))) for key in self.keys}
        self.limits[self.keys[0]] = self.limit(Algorithm.ROLLING_WINDOW)
        self.now_us = START_US
        self.due_us: list[int] = []
        self.held: list[tuple[tuple[Charge, ...], str, int]] = []

    def limit(self, algorithm: Algorithm) -> Limit:
        most_units = min(self.most_units, 12 if algorithm is Algorithm.CONCURRENCY else 1_000_000)
        quota = self.random.randint(1 + most_units // 2, most_units)
        window_us = self.random.choice((self.random.randint(1, 50), self.random.randint(1, self.most_window_us)))
        limit = Limit(
            "x", algorithm, quota, window_us, ("k",), mode=self.random.choice((Mode.ENFORCE,) * 5 + (Mode.SHADOW,))
        )
        if algorithm is Algorithm.TOKEN_BUCKET:
            rate, per_us = self.random.randint(1, 9), self.random.randint(1, 1 + self.most_window_us // quota)
            return replace(limit, rate=rate, per_us=per_us, window_us=-(-quota * per_us // rate))
        if algorithm is Algorithm.ROLLING_WINDOW and self.random.random() < 0.5:
            return replace(limit, quantum_us=-(-window_us // self.random.choice((1, 2, 3, 7, 60))))
        return limit

    def change_a_limit(self) -> None:
        key = self.random.choice(self.keys)
        algorithm = self.limits[key].algorithm
        if self.random.random() < 0.2:
            algorithm = self.random.choice(list(Algorithm))
        self.limits[key] = self.limit(algorithm)

    def pass_time(self) -> None:
        if self.random.random() < self.climate.leaps:
            self.leap()
        elif self.random.random() < 0.7:
            usual_us = self.random.randint(0, self.most_window_us // self.most_units)
            self.now_us += self.random.choice((0, 1, 5, usual_us))

    def leap(self) -> None:
        """The clock steps back; or a moment comes at which something changes, or the one before it; or a long rest."""
        chance = self.random.random()
        if chance < self.climate.back:
            self.now_us -= self.random.choice((1, 40, self.random.randint(1, 3 * self.most_window_us)))
        elif chance < 0.9 and self.due_us:
            due_us = self.random.choice(self.due_us) - self.random.randint(0, 1)
            self.now_us = due_us if self.climate.back else max(self.now_us, due_us)
        else:
            self.now_us += self.random.randint(0, 3 * self.most_window_us)

    def charges(self) -> tuple[Charge, ...]:
        keys = self.random.sample(self.keys, min(len(self.keys), self.random.choice((1, 1, 2, 3))))
        return tuple(Charge(self.limits[key], key, self.cost(self.limits[key])) for key in keys)

    def cost(self, limit: Limit) -> int:
        return 1 if self.random.random() >= self.climate.dear else self.random.randint(1, limit.quota)

    def delta(self, charge: Charge) -> int:
        """Mostly less than was charged, now and then all of it or more, once in a while absurdly more."""
        more = self.random.choice((1, charge.cost, charge.limit.quota, 3 * charge.limit.quota, 2**53))
        return self.random.choice((0, more, -charge.cost, *(-self.random.randint(1, charge.cost) for _ in range(9))))

    def steps(self, count: int) -> Iterator[Step]:
        for number in range(count):
            if self.random.random() < self.climate.change:
                self.change_a_limit()
            self.pass_time()
            chance = self.random.random()
            if chance < 0.08 and self.held:
                charges, lease, _ = self.held.pop(self.random.randrange(len(self.held)))
                yield Step(self.random.choice(("release", "renew")), charges, lease, self.now_us)
            elif chance < 0.16 and self.held:
                charges, lease, at_us = self.random.choice(self.held)
                deltas = tuple(self.delta(charge) for charge in charges)
                yield Step("settle", charges, lease, self.now_us, deltas, at_us)
            elif chance < 0.17:
                yield Step("reset", (self.charges()[0],), "", self.now_us)
            elif chance < 0.18:
                quota = self.random.choice(
                    (0, *(self.random.randint(1, min(2 * self.most_units, 12)) for _ in range(3)))
                )
                for_us = self.random.choice((1, 40, self.random.randint(1, 2 * self.most_window_us)))
                self.due_us = [*self.due_us[-6:], self.now_us + for_us]
                yield Step("grant", (self.charges()[0],), "", self.now_us, (quota, for_us))
            else:
                lease = f"lease-{number}"
                yield Step("peek" if chance < 0.23 else "admit", self.charges(), lease, self.now_us)

    def hear(self, step: Step, decision: Decision) -> None:
        """What the model answered: remember leases, and the moments at which something will change."""
        waits_us = [wait_us for verdict in decision.verdicts for wait_us in (verdict.retry_us, verdict.more_us)]
        if decision.admitted and step.op == "admit":
            self.held = [*self.held[-20:], (step.charges, step.lease, step.now_us)]
        self.due_us = [*self.due_us[-6:], *(step.now_us + wait_us for wait_us in waits_us if wait_us)]


def take(counter: Counter, step: Step) -> Decision | bool | None:
    """Do it; the answer, if there is one."""
    if step.op in ("release", "renew"):
        getattr(counter, step.op)(step.charges, step.lease, step.now_us)
    elif step.op == "settle":
        counter.settle(step.corrections, step.at_us, step.now_us)
    elif step.op == "reset":
        counter.reset(step.charges[0].key)
    elif step.op == "grant":
        return counter.grant(step.charges[0], *step.deltas, step.now_us)
    elif step.op == "peek":
        return counter.peek(step.charges, step.now_us)
    else:
        return counter.admit(step.charges, step.lease, step.now_us)
    return None


def ask_model(world: World, model: CoreModel, step: Step) -> Decision | bool | None:
    """What the script must reply; None when the reply is not looked at."""
    answer = take(model, step)
    if isinstance(answer, Decision):
        world.hear(step, answer)
    return answer


def queue_step(pipe: "redis.client.Pipeline", step: Step) -> int:
    """Add the step to the transaction; returns at which index its reply will be."""
    index = len(pipe.command_stack)
    if step.op == "reset":
        queue(pipe, GRANT, encode_grant(step.charges[0], None, 0, "t:", op="reset"))
    elif step.op == "grant":
        quota, for_us = step.deltas
        grant = Grant(quota, 0) if quota else None
        queue(pipe, GRANT, encode_grant(step.charges[0], grant, for_us, "t:", now_us=step.now_us))
    elif step.op == "settle":
        queue(pipe, SETTLE, encode_settle(step.corrections, step.at_us, "t:", now_us=step.now_us))
    elif step.op in ("release", "renew"):
        script, arguments = (
            (RELEASE, encode_release(step.charges, step.lease, "t:"))
            if step.op == "release"
            else (RENEW, encode_renew(step.charges, step.lease, "t:", now_us=step.now_us))
        )
        if arguments is not None:
            queue(pipe, script, arguments)
    else:
        commit = step.op == "admit"
        queue(pipe, ADMIT, encode_admit(Ask(step.charges), step.lease, prefix="t:", commit=commit, now_us=step.now_us))
    return index


@pytest.mark.parametrize(
    "climate",
    [
        Climate(1, 3, 600_000_000),
        Climate(2, 12, 600_000_000),
        Climate(3, 12, 40),
        Climate(4, 40, 600_000_000),
        Climate(5, 400, 600_000_000, dear=0.05, change=0.001, leaps=0.01),
        Climate(6, 400, 600_000_000, dear=0.01, change=0.001, leaps=0.003, partitions=1),
        Climate(7, 1_000_000, 24 * 3600 * 1_000_000),
    ],
    ids=lambda climate: f"seed-{climate.seed}",
)
def test_scripts_equal_core(server: "redis.Redis", climate: Climate) -> None:
    Scripts(server)  # loads them
    world, model = World(climate), CoreModel()
    steps = world.steps(STEPS)
    admitted = refused = 0
    for _ in range(STEPS // BATCH):
        batch = itertools.islice(steps, BATCH)
        with server.pipeline(transaction=True) as pipe:
            asked = [(step, queue_step(pipe, step), ask_model(world, model, step)) for step in batch]
            replies = pipe.execute()
        for step, index, expected in asked:
            if isinstance(expected, Decision):
                assert decode_admit(replies[index], Ask(step.charges)) == expected, step
                admitted, refused = admitted + expected.admitted, refused + (not expected.admitted)
            elif expected is not None:
                assert replies[index] == [int(expected)], step
    assert min(admitted, refused) > STEPS // 10, "a sequence that hardly admits or hardly refuses shows little"


def whole_store_equals_core(store: WholeStore, climate: Climate, count: int) -> None:
    world, model = World(climate), CoreModel()
    admitted = refused = 0
    for step in world.steps(count):
        expected = take(model, step)
        assert take(store, step) == expected, step
        if isinstance(expected, Decision):
            world.hear(step, expected)
            admitted, refused = admitted + expected.admitted, refused + (not expected.admitted)
    assert min(admitted, refused) > count // 10


@pytest.mark.parametrize("seed", [1, 2])
def test_a_cluster_equals_the_core(cluster: WholeStore, seed: int) -> None:
    """Most calls are about several servers: charged on each of them, or on none.

    The clock does not go back: a refused call leaves what only a clock that goes back can show.
    """
    assert len({cluster.owner_of(f"x:{{={tenant}}}") for tenant in TENANTS}) == len(TENANTS)
    whole_store_equals_core(cluster, Climate(seed, 12, 600_000_000, back=0, tenants=len(TENANTS)), 500)


def test_a_store_behind_sentinels_equals_the_core(sentinels: WholeStore) -> None:
    whole_store_equals_core(sentinels, Climate(1, 12, 600_000_000), 500)


def test_scripts_equal_core_when_their_counters_wrap(server: "redis.Redis") -> None:
    """Stamps begin anew every nine years and totals after four thousand million units: nobody notices."""
    chance, scripts, model, now_us = random.Random(8), Scripts(server), CoreModel(), START_US
    day_us = 24 * 3600 * 1_000_000
    limit = Limit("x", Algorithm.ROLLING_WINDOW, 2**32 - 1, 800 * day_us, ("k",), quantum_us=10 * day_us)
    admitted = 0
    for number in range(2000):
        now_us += chance.randint(0, 20 * day_us)
        charges = [Charge(limit, "k", chance.randint(1, 2**28))]
        decision = scripts.admit(charges, f"lease-{number}", now_us)
        assert decision == model.admit(charges, f"lease-{number}", now_us)
        admitted += decision.admitted * charges[0].cost
    assert admitted > 3 * 2**32
    assert now_us - START_US > 5 * 2**48
