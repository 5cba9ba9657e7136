"""What goes on beside calls for as long as a worker lives goes on after an error that nobody expected, which is told."""

import ast
import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import gateway
from gateway import lasting
from gateway.core.shares import Fleet
from gateway.core.webhooks.receivers import Receiver, Subscription
from gateway.guards import census
from gateway.guards.census import Census
from gateway.lasting import apart, unheard
from gateway.modules.webhooks.outbox import Outbox
from gateway.observe.log.logger import hear_events, hear_no_events
from gateway.observe.metrics.sink import Metrics
from gateway.observe.reports.unheard import CALM_S, MOST_PLACES, Unheard
from gateway.reload import transaction
from gateway.reload.transaction import Reload
from gateway.siblings import Siblings
from gateway.store.outage import heartbeat
from gateway.store.outage.heartbeat import Heartbeat
from gateway.store.redis import RedisStore
from gateway.store.shared.queues import Appended
from tests.app.test_census import BREAKERS
from tests.fakes.patience import PATIENT_US
from tests.fakes.stores import patient, started
from tests.fakes.waiting import eventually, turns
from tests.observe.conftest import POLICIES

SOURCES = Path(gateway.__file__).parent
CAREFUL = {"courier._go_round", "lasting._go_on", "live._renew", "renewal._fetch"}
"""Loops that tell of errors themselves; the last one ends with the next answer, and `_landed` sees to errors."""


@pytest.fixture
async def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """(work, error) of what is told; and whatever fails begins anew at once."""
    monkeypatch.setattr(lasting, "FIRST_PAUSE_S", 0.0)
    errors: list[tuple[str, str]] = []

    def tell(_loop: object, context: Any) -> None:
        errors.append((context.get("work", ""), str(context["exception"])))

    asyncio.get_running_loop().set_exception_handler(tell)
    return errors


@pytest.fixture
def heard() -> Iterator[list[Mapping[str, Any]]]:
    """Events."""
    lines: list[Mapping[str, Any]] = []
    hear_events(lines.append)
    yield lines
    hear_no_events(lines.append)


class Once:
    """Fails the first time that it is called, as nobody expects."""

    def __init__(self, then: object = None) -> None:
        self.calls = 0
        self._then = then

    def __call__(self, *_: object, **_more: object) -> Any:
        self.calls += 1
        if self.calls == 1:
            raise ArithmeticError("of ours")
        return self._then


async def test_it_begins_anew_until_it_returns(told: list[tuple[str, str]]) -> None:
    once = Once()

    async def work() -> None:
        once()

    await lasting.lasting("some work", work)
    assert (once.calls, told) == (2, [("some work", "of ours")])


async def test_pauses_get_longer_and_end_with_the_task(
    told: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(lasting, "FIRST_PAUSE_S", 1.0)

    async def sleep(pause_s: float) -> None:
        pauses.append(pause_s)
        if len(pauses) == 8:
            raise asyncio.CancelledError

    monkeypatch.setattr(lasting.asyncio, "sleep", sleep)

    async def work() -> None:
        raise ArithmeticError

    with pytest.raises(asyncio.CancelledError):
        await lasting.lasting("some work", work)
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]
    assert len(told) == 8


async def test_who_tells_goes_on_whatever_is_made_of_it(told: list[tuple[str, str]]) -> None:
    tell = apart("hearing", Once())
    tell("one", two=2)
    assert told == [("hearing", "of ours")]
    tell("one", two=2)
    assert len(told) == 1


async def test_it_is_an_event_without_what_an_exception_says(heard: list[Mapping[str, Any]]) -> None:
    asyncio.get_running_loop().set_exception_handler(Unheard())
    secret = "-".join(("s3cret", "word"))

    async def fail() -> None:
        int(secret)

    def fail_at(told: str) -> None:
        raise KeyError(told)

    def fail_in_time(_told: str) -> None:
        raise TimeoutError("no answer")

    task = asyncio.create_task(fail())
    await asyncio.wait((task,))
    del task
    asyncio.get_running_loop().call_soon(fail_at, secret)
    asyncio.get_running_loop().call_soon(fail_in_time, secret)
    unheard("some work", OSError("no room"))
    await turns(2)
    assert [(line["event_name"], line["level"]) for line in heard] == [("background.crashed", "error")] * 4
    assert [line["exception"].splitlines()[-1] for line in heard] == [
        "ValueError: invalid literal for int() with base 10: '…'",
        "OSError: no room",
        "KeyError: '…'",
        "TimeoutError: no answer",
    ]
    assert [line["work"] for line in heard if "work" in line] == ["some work"]
    assert secret not in str(heard)


async def test_the_same_in_the_same_place_is_told_now_and_then(heard: list[Mapping[str, Any]]) -> None:
    now_s = 1000.0
    loop, tell = asyncio.get_running_loop(), Unheard(lambda: now_s)

    def fail(error: Exception, work: str | None = "some work") -> None:
        try:
            raise error
        except Exception as raised:
            tell(loop, {"exception": raised, "work": work})

    for _ in range(5):
        fail(ArithmeticError())
    fail(ArithmeticError(), "other work")
    fail(LookupError(), None)
    now_s += CALM_S
    fail(ArithmeticError())
    fail(ArithmeticError())
    assert [(line.get("work"), line["count"]) for line in heard] == [
        ("some work", 1),
        ("other work", 1),
        (None, 1),
        ("some work", 5),
    ]
    heard.clear()
    for number in range(3 * MOST_PLACES):
        for _ in range(2):
            fail(ArithmeticError(), str(number % (MOST_PLACES + 1)))
    assert len(heard) == MOST_PLACES - 1
    now_s += CALM_S
    fail(ArithmeticError(), "yet another")
    assert len(heard) == MOST_PLACES


# -- the parts


async def test_hearing_of_the_store(told: list[tuple[str, str]], own_redis_server: Any) -> None:
    """Whoever hears of its end and fails must not keep it from being dialled."""
    seen: list[str] = []

    def hear(name: str, _fields: object) -> None:
        seen.append(name)
        raise ArithmeticError("of ours")

    one = RedisStore(own_redis_server.url, timeout_us=PATIENT_US, on_event=hear)
    await one.start()
    own_redis_server.kill()
    await eventually(lambda: "store.degraded" in seen)
    own_redis_server.start()
    await eventually(lambda: "store.recovered" in seen)
    assert one.up
    assert {work for work, _ in told} == {"hearing of the store"}
    await one.close()


async def test_census_of_a_store_with_nonsense_in_it(
    told: list[tuple[str, str]], redis_url: str, redis_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(census, "LOOK_S", 0.001)
    async with started(patient(redis_url)) as one:
        await redis_client.zadd(one.key_prefix + "breakers", {"nonsense": 2**53})
        counting = Census(one, BREAKERS)
        counting.start()
        await eventually(lambda: told)
        await redis_client.delete(one.key_prefix + "breakers")
        looked = counting.counts
        await eventually(lambda: counting.counts is not looked)
        await counting.close()
    assert told[0][0] == "census of breakers"


async def test_heartbeat(told: list[tuple[str, str]], redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_S", 0.001)
    heard = Once()
    async with started(patient(redis_url)) as one:
        beating = Heartbeat(one, Fleet(1, 0), heard)
        beating.start()
        await eventually(lambda: heard.calls >= 3)
        await beating.close()
    assert told == [("heartbeat", "of ours")]


async def test_outbox(told: list[tuple[str, str]]) -> None:
    class Taking:
        async def append(self, _letter: object, queues: Any, **_more: object) -> Appended:
            taken.append(queues)
            return Appended(*[()] * len(Appended._fields))

    taken: list[Any] = []
    subscriptions = (Subscription(Receiver("all", "https://a")),)
    office: Any = Taking()
    stored = Once()
    box = Outbox(office, subscriptions, 10, on_stored=stored, on_dropped=lambda *_: None)
    line = {"event_name": "store.degraded", "timestamp": "2026-11-21T14:23:33.120Z"}
    for _ in range(3):
        box.hear(line)
    await eventually(lambda: stored.calls == 3)
    await box.close()
    assert (len(taken), told) == (3, [("webhooks outbox", "of ours")])


async def test_an_event_that_cannot_be_stored_holds_up_none_behind_it(told: list[tuple[str, str]]) -> None:
    class Refusing:
        async def append(self, letter: Any, queues: Any, **_more: object) -> Appended:
            if not taken:
                taken.append("")
                raise ValueError("of ours")
            taken.append(letter.id)
            return Appended(*[()] * len(Appended._fields))

    taken: list[str] = []
    dropped: list[tuple[str, str]] = []
    office: Any = Refusing()
    box = Outbox(
        office,
        (Subscription(Receiver("all", "https://a")),),
        10,
        on_stored=lambda _: None,
        on_dropped=lambda *loss: dropped.append(loss),
    )
    for _ in range(3):
        box.hear({"event_name": "store.degraded", "timestamp": "2026-11-21T14:23:33.120Z"})
    await eventually(lambda: len(taken) == 3)
    await box.close()
    assert dropped == [("all", "not_stored")]
    assert told == [("webhooks outbox", "of ours")]


async def test_watch_of_the_policies(told: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transaction, "LOOK_S", 0.001)
    look = Once(())
    wrong = SimpleNamespace(settings=None, policies=None, errors=(), warnings=())
    sources: Any = SimpleNamespace(stamp=look, read=lambda: wrong)
    worker: Any = SimpleNamespace(settings=None, policies=SimpleNamespace(version="v1"), reloaded=str, heard=str)
    reload = Reload(worker, Siblings(0), sources, None)
    reload.start()
    await eventually(lambda: look.calls >= 3)
    await reload.close()
    assert told == [("watch of the policies", "of ours")]


async def test_metrics(told: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.observe.metrics.ticking.TICK_S", 0.001)
    metrics = Metrics(POLICIES)
    levels = metrics.levels = Once(metrics.levels())
    metrics.start()
    await eventually(lambda: levels.calls >= 3)
    metrics.close()
    assert [error for _, error in told] == ["of ours"]


# -- all of them


def _methods(tree: ast.AST) -> Iterator[ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef))


def _begun(tree: ast.AST) -> Iterator[str]:
    """Names of coroutine functions of which a task is made here."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("create_task", "ensure_future"):
            called = node.args[0]
            if isinstance(called, ast.Call):
                yield getattr(called.func, "attr", getattr(called.func, "id", ""))


def test_no_task_goes_round_and_round_by_itself() -> None:
    """One that fails would be gone for good, and nobody would notice."""
    found = set()
    for path in SOURCES.rglob("*.py"):
        tree = ast.parse(path.read_text())
        begun = {*_begun(tree)}
        for method in _methods(tree):
            if method.name in begun and any(_ends_never(node) for node in ast.walk(method)):
                found.add(f"{path.stem}.{method.name}")
    assert found == CAREFUL


def _ends_never(node: ast.AST) -> bool:
    if not isinstance(node, ast.While):
        return False
    return isinstance(node.test, ast.Constant) or "closing" in ast.unparse(node.test)
