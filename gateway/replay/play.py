"""Rows in the order in which the calls came, decided under the candidate policy."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple

from gateway.core.ask import Ask
from gateway.core.caller import ask_for
from gateway.core.policy import PolicySet
from gateway.core.preview.recorded import Said, as_told
from gateway.core.preview.replay import Judged, Player
from gateway.core.problems import Refusal
from gateway.replay.row import Extra, Kind, Rows

WINDOW = 20_000
"""Calls are logged when they end, and played when they began: so many are held back to put them in order."""
MOST_ASKS = 100_000
_NO_EXTRA = Extra()
_NO_FIELDS = Said()

Row = tuple[int, int, Kind, int, Extra]
"""began_us, lasted_us, kind, whether it was refused, extra. Sorted by the first."""


class Outcome(NamedTuple):
    """One call, then and now. code: the candidate refuses it before any limit."""

    began_us: int
    kind: Kind
    extra: Extra
    refused_then: bool
    judged: Judged
    code: str = ""

    @property
    def refused_now(self) -> bool:
        return bool(self.code) or not self.judged.admitted


_NO_LIMIT = Judged(True, ())


def in_order(pieces: Iterable[Rows]) -> Iterator[Row]:
    """The rows of one log by their beginnings. Those that lasted past `WINDOW` others come too late."""
    pending: list[Row] = []
    for rows in pieces:
        kinds, extras = rows.kinds, rows.extras
        columns = zip(rows.began_us, rows.lasted_us, rows.kind, rows.refused, strict=True)
        if extras:
            pending += [
                (began, lasted, kinds[kind], refused, extras.get(row, _NO_EXTRA))
                for row, (began, lasted, kind, refused) in enumerate(columns)
            ]
        else:
            pending += [(began, lasted, kinds[kind], refused, _NO_EXTRA) for began, lasted, kind, refused in columns]
        pending.sort(key=itemgetter(0))
        if len(pending) > WINDOW:
            yield from pending[:-WINDOW]
            del pending[:-WINDOW]
    yield from pending


@dataclass(slots=True)
class Played:
    """How many calls there were, from when to when. late: out of order, and taken as if they had come with the one
    before."""

    calls: int = 0
    first_us: int = 0
    last_us: int = 0
    late: int = 0


class Rerun:
    """Plays rows. `played`: how many so far."""

    def __init__(self, policies: PolicySet) -> None:
        self.played = Played()
        self._policies = as_told(policies)
        self._player = Player()
        self._asks: dict[Kind, Ask | str] = {}
        self._lasts: dict[int, tuple[int, int]] = {}
        self._serial = 0

    def play(self, rows: Iterable[Row]) -> Iterator[Outcome]:
        """What comes of calls that were or would be refused, in shadow too: of others there is nothing to say."""
        played = self.played
        for row in rows:
            began_us, _, kind, refused, extra = row
            if began_us < played.last_us:
                played.late += 1
                began_us = played.last_us
            played.last_us = began_us
            played.first_us = played.first_us or began_us
            played.calls += 1
            ask = self._asks.get(kind) or self._ask(kind)
            if isinstance(ask, str):
                yield Outcome(began_us, kind, extra, bool(refused), _NO_LIMIT, ask)
                continue
            judged = self._call(ask, row, began_us) if ask.charges else _NO_LIMIT
            if refused or judged.lacking or extra.fired:
                yield Outcome(began_us, kind, extra, bool(refused), judged)

    def _call(self, ask: Ask, row: Row, began_us: int) -> Judged:
        _, lasted_us, kind, refused, extra = row
        self._serial += 1
        lease = str(self._serial) if ask.kind.takes_slots else ""
        judged = self._player.judge(ask, began_us, lease)
        if judged.admitted:
            for after_us in extra.attempts:
                self._player.later(ask, began_us + after_us, lease)
            if ask.kind.takes_slots or ask.measures or extra.given_back:
                lasts_us = self._usual(kind.route) if refused else lasted_us
                ends_us = began_us + lasts_us
                self._player.ends(ask, judged, lease, began_us, ends_us, extra.costs, extra.given_back)
        if not refused and ask.kind.takes_slots:
            self._learn(kind.route, lasted_us)
        return judged

    def _learn(self, route: int, lasted_us: int) -> None:
        count, total_us = self._lasts.get(route, (0, 0))
        self._lasts[route] = count + 1, total_us + lasted_us

    def _usual(self, route: int) -> int:
        """How long calls of this route took so far, on average: one that was refused took no time then."""
        count, total_us = self._lasts.get(route, (0, 0))
        return total_us // count if count else 0

    def _ask(self, kind: Kind) -> Ask | str:
        """What the candidate asks about such a call, or the code of its refusal. Equal callers share one."""
        if len(self._asks) >= MOST_ASKS:
            self._asks.clear()
        found: Ask | str
        if kind.refused:
            found = kind.refused
        else:
            route = self._policies.routes[kind.route]
            operation = route.operations[kind.operation] if kind.operation >= 0 else None
            parts: Mapping[str, str | None] = dict(zip((part.name for part in route.keys), kind.parts, strict=True))
            asked = ask_for(self._policies, route.facing(parts, _NO_FIELDS), operation, parts)
            found = asked.kind.code if isinstance(asked, Refusal) else asked
        self._asks[kind] = found
        return found
