"""What is passed on to listeners: what they want, and no more than they can take."""

import asyncio
from typing import Any

import pytest

from gateway.admin.watching.listening import MOST_WAITING, Circle, Listener, Wanted
from gateway.admin.watching.tap import Tap
from gateway.observe.batch import Batch
from gateway.observe.log.access import AccessLog
from gateway.record import CallRecord
from gateway.settings import Logging
from gateway.siblings import Siblings


class Home:
    """One worker with a tap, and what a listener at it hears."""

    def __init__(self) -> None:
        self.siblings, self.batch = Siblings(), Batch(())
        self.tap = Tap(self.siblings, self.batch, AccessLog(Logging(access="off", redact=("tenant",)), {}))
        self.heard: list[dict[str, Any]] = []
        self.something = asyncio.Event()
        self.siblings.on("stream.lines", self._hear)

    def _hear(self, told: dict[str, Any]) -> None:
        self.heard.append(told)
        self.something.set()

    def listen(
        self, *events: str, limited: bool = False, tenant: str | None = None, most: int = MOST_WAITING, ticks: int = 1
    ) -> None:
        told = {
            "id": "one",
            "home": 0,
            "events": list(events),
            "limited": limited,
            "tenant": tenant,
            "connection": None,
            "most": most,
            "ticks": ticks,
        }
        self.siblings.tell_all("stream.listen", told)


def call(tenant: str = "acme", verdict: str = "allowed", connection: str = "c1") -> CallRecord:
    record = CallRecord()
    record.tenant, record.verdict, record.status, record.connection = tenant, verdict, 200, connection
    return record


async def test_nobody_listens_and_nothing_is_taken() -> None:
    home = Home()
    assert home.batch.takers == ()
    home.listen("breaker.*")
    assert home.batch.takers == ()
    home.siblings.tell_all("stream.end", {"id": "one"})
    home.listen()
    assert home.batch.takers == (home.tap.take,)
    home.siblings.tell_all("stream.end", {"id": "one"})
    assert home.batch.takers == ()


@pytest.mark.parametrize(("most", "ticks"), [(MOST_WAITING, 1), (5, 3)])
async def test_what_is_too_much_is_counted_and_what_is_redacted_is_not_told(most: int, ticks: int) -> None:
    home = Home()
    home.listen(most=most, ticks=ticks)
    home.tap.take([call()] * (most + 7))
    await home.something.wait()
    (told,) = home.heard
    assert (len(told["lines"]), told["dropped"]) == (most, 7)
    assert "acme" not in told["lines"][0]


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [
        (Wanted(), {"call", "limited", "other", "breaker"}),
        (Wanted(limited=True), {"limited"}),
        (Wanted(tenant="acme"), {"call", "limited"}),
        (Wanted(connection="c2"), {"other"}),
        (Wanted(tenant="acme", connection="c2"), set()),
        (Wanted(("breaker.*",)), {"breaker"}),
        (Wanted(("http.access",), limited=True, tenant="other"), set()),
    ],
    ids=lambda one: " ".join(sorted(one)) or "none" if isinstance(one, set) else str(one),
)
def test_who_listens_gets_what_it_asked_for(wanted: Wanted, taken: set[str]) -> None:
    calls = {"call": call(), "limited": call(verdict="limited"), "other": call("other", connection="c2")}
    found = {name for name, record in calls.items() if wanted.wants_calls and wanted.calls_of([record])}
    if wanted.takes_event("breaker.opened", {}):
        found.add("breaker")
    assert found == taken


def hear(circle: Circle, *records: CallRecord) -> None:
    circle.take(records, lambda record: record.tenant.encode())


def test_who_has_no_room_is_told_how_much_it_missed() -> None:
    circle, one, other = (
        Circle(Wanted(limited=True)),
        *(Listener(0, Wanted(limited=True, most=most)) for most in (2, 4)),
    )
    circle.open += [one, other]
    hear(circle, call("a"), call("b", "limited"), call("c", "held"))
    hear(circle, call("d", "limited"), call("e"))
    circle.settle(one)
    assert (one.taken(), one in circle.open) == ((["b", "c"], 1), True)
    hear(circle, *[call("f", "limited")] * 3)
    for listener in (one, other):
        circle.settle(listener)
    assert (one.taken(), other.taken()) == ((["f", "f"], 1), (["b", "c", "d", "f"], 2))
    circle.leave(one)
    assert len(circle) == 1


def test_calls_that_nobody_has_room_for_are_not_written() -> None:
    circle = Circle(Wanted())
    circle.open += [Listener(0, Wanted(most=1)) for _ in range(20)]
    written: list[CallRecord] = []

    def line(record: CallRecord) -> bytes:
        written.append(record)
        return b"{}"

    for _ in range(3):
        circle.take([call()] * 10, line)
    assert len(written) == 20  # the first call, for each; the tap writes it once


async def test_listeners_come_and_go() -> None:
    home = Home()
    home.listen(limited=True)
    home.listen(limited=True)  # it is still there
    assert [len(circle) for circle in home.tap._circles.values()] == [1]
    home.siblings.tell_all("stream.end", {"id": "one"})
    home.siblings.tell_all("stream.end", {"id": "one"})
    assert home.tap._circles == {}
