"""Slots of calls are renewed before their leases lapse, however short these are, or become while calls last."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.core.ask import Ask
from gateway.core.limits import Algorithm, Charge, Limit, Override
from gateway.leases import Leases

SLOTS = Limit("c", Algorithm.CONCURRENCY, 4, 60_000_000, ("tenant",))
WINDOW = Limit("w", Algorithm.ROLLING_WINDOW, 4, 1_000, ("tenant",))
STEP_S = 0.01


def lasting(lease_s: float) -> Limit:
    return replace(SLOTS, window_us=int(lease_s * 1e6))


class Loop:
    """A clock, and the timers that are set by it."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now_s

    def call_later(self, delay_s: float, work: Callable[[], None]) -> Any:
        timer = (self.now_s + delay_s, work)
        self.timers.append(timer)
        return SimpleNamespace(cancel=lambda: self.timers.remove(timer))

    def pass_time(self, span_s: float) -> None:
        for _ in range(round(span_s / STEP_S)):
            self.now_s += STEP_S
            for timer in [one for one in self.timers if one[0] <= self.now_s]:
                self.timers.remove(timer)
                timer[1]()


class World:
    """A worker's leases, and when each of its calls had its own renewed last."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.loop = Loop()
        monkeypatch.setattr("gateway.leases.asyncio.get_running_loop", lambda: self.loop)
        self.leases = Leases()
        self.renewed_s: dict[str, float] = {}
        self.longest_s: dict[str, float] = {}

    def call(self, name: str, limit: Limit) -> Any:
        store = SimpleNamespace(renew=lambda _, lease: self._renew(lease), release=lambda _charges, _lease: None)
        ask = Ask([Charge(WINDOW, "w:{t}", 1), Charge(limit, "c:{t}", 1)])
        call = SimpleNamespace(gateway=SimpleNamespace(store=store), ask=ask, lease=name, decided_here=False)
        call = type("Call", (SimpleNamespace,), {"__hash__": object.__hash__})(**vars(call))
        self.renewed_s[name], self.longest_s[name] = self.loop.now_s, 0.0
        self.leases.hold(call)
        return call

    def _renew(self, lease: str) -> None:
        gap_s = self.loop.now_s - self.renewed_s[lease]
        self.renewed_s[lease], self.longest_s[lease] = self.loop.now_s, max(self.longest_s[lease], gap_s)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


@pytest.mark.parametrize("lease_s", [1, 2, 5, 60])
def test_in_time(world: World, lease_s: float) -> None:
    calls = []
    for number in range(5):
        calls.append(world.call(f"call-{number}", lasting(lease_s)))
        world.loop.pass_time(lease_s / 7)
    world.loop.pass_time(6 * lease_s)
    assert all(lease_s / 4 < gap_s < 0.8 * lease_s for gap_s in world.longest_s.values())
    for call in calls:
        world.leases.give_back(call)
    world.loop.pass_time(60)
    assert world.loop.timers == []


def test_beside_longer_ones(world: World) -> None:
    world.call("long", lasting(60))
    world.loop.pass_time(0.5)
    world.call("short", lasting(1))
    world.loop.pass_time(50)
    assert world.longest_s["short"] < 0.8
    assert 20 <= world.longest_s["long"] < 21


@pytest.mark.parametrize(
    "limits",
    [
        [WINDOW, lasting(3)],
        [replace(SLOTS, overrides=(Override((("tenant", "t"),), lasting(3)),))],
        [replace(WINDOW, shadow=lasting(3))],
    ],
    ids=["for all", "for some", "in shadow"],
)
def test_leases_that_become_shorter_while_calls_last(world: World, limits: list[Limit]) -> None:
    before = world.call("before", SLOTS)
    world.loop.pass_time(10)
    world.leases.use(limits)
    world.renewed_s["before"] = world.loop.now_s
    behind = world.call("behind", SLOTS)
    world.loop.pass_time(50)
    assert 0 < world.longest_s["before"] < 2.5
    assert world.longest_s["behind"] > 15, "it has its own limit's"
    world.leases.use([lasting(60)])
    world.loop.pass_time(10)
    assert world.longest_s["before"] < 2.5
    for call in (before, behind):
        world.leases.give_back(call)
    assert not world.leases._sooner_s


def test_a_renewal_that_fails_is_not_the_last_one(world: World) -> None:
    """Calls whose slots lapse are called off by nobody: more would run than the limit says."""
    broken, well = world.call("broken", lasting(1)), world.call("well", lasting(1))
    broken.gateway.store.renew = lambda _charges, _lease: 1 / 0
    for _ in range(5):
        with pytest.raises(ZeroDivisionError):
            world.loop.pass_time(0.5)
    assert world.longest_s["well"] < 1
    world.leases.give_back(broken)
    world.leases.give_back(well)
