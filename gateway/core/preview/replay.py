"""Limits in virtual time: calls decided once more with the core's algorithms, at the moments when they came.

As `core.decision.decide`, without what a replay does not need (the verdicts' numbers, clocks that step back), so that
logs of millions of calls can be played. A test holds both together.
"""

import heapq
from collections.abc import Sequence
from typing import NamedTuple

from gateway.core.algorithms import Leases, State, state_for
from gateway.core.ask import Ask
from gateway.core.decision import units
from gateway.core.limits import VARIANT, Algorithm, Charge, ChargePer, Limit, Mode
from gateway.core.settlement import Correction, corrected

SWEEP_FROM = 200_000
"""Partitions that are kept in any case; of more, those that say nothing any more are forgotten."""


class Cell:
    """What is remembered of one partition; `limit` has the numbers of whoever called last (overrides may differ)."""

    __slots__ = ("limit", "state")

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.state: State = state_for(limit, None)


class Judged(NamedTuple):
    """The answer for one call. lacking: the limits without room for it, in the order asked, shadows too."""

    admitted: bool
    lacking: tuple[Limit, ...]


_ROOM = Judged(True, ())
_Play = tuple[tuple[Cell, Limit, int, bool], ...]


class Player:
    """The counters of all partitions. Times must not go backwards; `lease` is different for each call."""

    def __init__(self) -> None:
        self._cells: dict[str, Cell] = {}
        self._plays: dict[int, tuple[Ask, _Play]] = {}
        self._later: list[tuple[int, int, tuple[Charge, ...], str, int, int]] = []
        self._serial = 0
        self._sweep_at = SWEEP_FROM

    def __len__(self) -> int:
        return len(self._cells)

    def judge(self, ask: Ask, now_us: int, lease: str) -> Judged:
        """Decide one call, and charge it if it is admitted."""
        if self._later and self._later[0][0] <= now_us:
            self._catch_up(now_us)
        known = self._plays.get(id(ask))
        if known is None:
            known = self._prepare(ask, now_us)
        return _judge(known[1], now_us, lease)

    def later(self, ask: Ask, at_us: int, lease: str) -> None:
        """An admitted call is tried once more then: what is charged per attempt is asked again."""
        charges = tuple(one for one in ask.charges if one.limit.charge is ChargePer.ATTEMPT and not _slots(one.limit))
        if charges:
            self._push(at_us, charges, lease, 0, 0)

    def ends(
        self,
        ask: Ask,
        judged: Judged,
        lease: str,
        began_us: int,
        ends_us: int,
        costs: Sequence[tuple[str, int]] = (),
        given_back: bool = False,
    ) -> None:
        """An admitted call ends then: its slots come back. It really cost what `costs` (limit, units) says; or
        nothing, where all was `given_back`."""
        real = dict(costs)
        for charge in ask.charges:
            limit = charge.limit
            if _slots(limit):
                self._push(ends_us, (charge,), lease, 0, 0)
            elif (given_back or limit.name in ask.measures) and limit not in judged.lacking:
                taken = units(limit, charge.cost)
                delta = -taken if given_back else real.get(limit.name.removesuffix(VARIANT), taken) - taken
                if delta:
                    self._push(ends_us, (charge,), lease, delta, began_us)

    def _push(self, at_us: int, charges: tuple[Charge, ...], lease: str, delta: int, began_us: int) -> None:
        self._serial += 1
        heapq.heappush(self._later, (at_us, self._serial, charges, lease, delta, began_us))

    def _catch_up(self, now_us: int) -> None:
        """Do what happened since the last call."""
        later = self._later
        while later and later[0][0] <= now_us:
            at_us, _, charges, lease, delta, began_us = heapq.heappop(later)
            if delta:
                self._settle(Correction(charges[0], delta), began_us, at_us)
            elif _slots(charges[0].limit):
                self._release(charges[0], lease)
            else:
                _judge(self._play(charges), at_us, lease)

    def _settle(self, correction: Correction, began_us: int, at_us: int) -> None:
        cell = self._cells.get(correction.charge.key)
        if cell is not None:
            after = corrected(correction, cell.state, began_us, at_us)
            assert after is not None, "there was a state"
            cell.state = after

    def _release(self, charge: Charge, lease: str) -> None:
        cell = self._cells.get(charge.key)
        if cell is not None and isinstance(cell.state, Leases):
            cell.state = cell.state.released(units(charge.limit, charge.cost), lease)

    def _prepare(self, ask: Ask, now_us: int) -> tuple[Ask, _Play]:
        if len(self._cells) >= self._sweep_at:
            self._sweep(now_us)
        elif len(self._plays) >= SWEEP_FROM:
            self._plays.clear()
        known = self._plays[id(ask)] = (ask, self._play(ask.charges))  # holding it keeps its identity its own
        return known

    def _play(self, charges: Sequence[Charge]) -> _Play:
        play = []
        for charge in charges:
            cell = self._cells.get(charge.key)
            if cell is None:
                cell = self._cells[charge.key] = Cell(charge.limit)
            limit = charge.limit
            play.append((cell, limit, units(limit, charge.cost), limit.mode is Mode.ENFORCE))
        return tuple(play)

    def _sweep(self, now_us: int) -> None:
        """Forget partitions that are as if nobody had ever called, and how asks are played."""
        self._cells = {key: cell for key, cell in self._cells.items() if cell.state.present(cell.limit, now_us)[1]}
        self._plays.clear()
        self._sweep_at = max(SWEEP_FROM, 2 * len(self._cells))


def _slots(limit: Limit) -> bool:
    return limit.algorithm is Algorithm.CONCURRENCY


def _judge(play: _Play, now_us: int, lease: str) -> Judged:
    """All limits or none are charged; a shadow never refuses, and is charged when it has room itself."""
    admitted, lacking = True, False
    waits = []
    for cell, limit, cost, enforced in play:
        if limit is not cell.limit:
            cell.state, cell.limit = cell.state.settled(limit, now_us), limit
        wait = cell.state.retry_us(limit, cost, now_us)
        waits.append(wait)
        if wait:
            lacking = True
            if enforced:
                admitted = False
    if admitted:
        for (cell, limit, cost, _), wait in zip(play, waits, strict=True):
            if not wait:
                cell.state = cell.state.charged(limit, cost, now_us, lease)
    if not lacking:
        return _ROOM
    return Judged(admitted, tuple(one[1] for one, wait in zip(play, waits, strict=True) if wait))
