"""Names of upstreams: one question at a time, answers that serve on while DNS is slow or down."""

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from gateway.core.upstream import Upstream
from gateway.names import KnownNames
from gateway.supervisor.event_loop import AskingLoop
from gateway.upstream import connect
from gateway.upstream.connect import DNS_AGAIN_S, DNS_STALE_S, DNS_TTL_S, Resolver
from gateway.upstream.failure import UpstreamFailed
from gateway.upstream.pool import Pool
from gateway.wire.response_head import ResponseHeadParser
from tests.fakes.waiting import turns

NAMED = Upstream("up", "http", "up.invalid", 80, "up.invalid")


@dataclass
class Names:
    """A loop for the resolver: DNS answers when `answered` is set, with `now` as the time."""

    address: str = "192.0.2.1"
    error: OSError | None = None
    now: float = 0.0
    asked: int = 0
    answered: asyncio.Event = field(default_factory=asyncio.Event)

    def time(self) -> float:
        return self.now

    def create_task(self, question: Any) -> "asyncio.Task[Any]":
        return asyncio.create_task(question)

    async def getaddrinfo(self, host: str, port: int, **_kind: int) -> list[Any]:
        self.asked += 1
        await self.answered.wait()
        if self.error is not None:
            raise self.error
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (self.address, port))]


def resolver(names: Names, known: KnownNames | None = None, upstream: Upstream = NAMED) -> Resolver:
    return Resolver(upstream, names, known)  # type: ignore[arg-type]


async def begun() -> None:
    """Let tasks that were started reach their first wait."""
    await turns(3)


async def host(names: Resolver) -> str:
    return str((await names.addresses())[0][4][0])


async def test_many_callers_ask_once() -> None:
    names = Names()
    asking = resolver(names)
    callers = [asyncio.create_task(host(asking)) for _ in range(100)]
    await begun()
    names.answered.set()
    assert set(await asyncio.gather(*callers)) == {"192.0.2.1"}
    assert names.asked == 1
    assert await host(asking) == "192.0.2.1"
    assert names.asked == 1


async def test_who_leaves_does_not_take_the_question_along() -> None:
    names = Names()
    asking = resolver(names)
    first, second = asyncio.create_task(host(asking)), asyncio.create_task(host(asking))
    await begun()
    first.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await first
    names.answered.set()
    assert await second == "192.0.2.1"
    assert names.asked == 1


async def test_an_error_is_shared_and_then_asked_again() -> None:
    names = Names(error=socket.gaierror(socket.EAI_NONAME, "unknown"))
    asking = resolver(names)
    callers = [asyncio.create_task(host(asking)) for _ in range(10)]
    await begun()
    names.answered.set()
    for failure in await asyncio.gather(*callers, return_exceptions=True):
        assert isinstance(failure, UpstreamFailed)
        assert failure.error == "dns"
    names.error = None
    assert await host(asking) == "192.0.2.1"
    assert names.asked == 2


async def test_an_expired_answer_serves_while_dns_takes_its_time() -> None:
    names = Names()
    names.answered.set()
    asking = resolver(names)
    await host(asking)
    names.answered.clear()
    names.now, names.address = DNS_TTL_S + 1, "192.0.2.2"
    assert [await host(asking) for _ in range(3)] == ["192.0.2.1"] * 3
    await begun()
    assert names.asked == 2
    names.answered.set()
    await begun()
    assert await host(asking) == "192.0.2.2"


async def test_an_old_answer_is_not_served_unasked() -> None:
    names = Names()
    names.answered.set()
    asking = resolver(names)
    await host(asking)
    names.now, names.address = DNS_TTL_S + DNS_STALE_S + 1, "192.0.2.2"
    assert await host(asking) == "192.0.2.2"


async def test_an_expired_answer_serves_as_long_as_dns_is_down() -> None:
    names = Names()
    names.answered.set()
    asking = resolver(names)
    await host(asking)
    names.error = socket.gaierror(socket.EAI_AGAIN, "down")
    for _ in range(20):
        names.now += DNS_STALE_S
        assert await host(asking) == "192.0.2.1"
        await begun()
    names.error, names.address = None, "192.0.2.2"
    names.now += DNS_STALE_S
    await host(asking)
    await begun()
    assert await host(asking) == "192.0.2.2"


DOWN = socket.gaierror(socket.EAI_AGAIN, "down")


async def known_of(address: str = "192.0.2.1") -> KnownNames:
    """What is known behind an answer of DNS."""
    names, known = Names(address), KnownNames()
    names.answered.set()
    await host(resolver(names, known))
    return known


async def test_who_begins_while_dns_is_down_goes_by_the_last_answer_that_others_had() -> None:
    names, known = Names(error=DOWN, address="192.0.2.2"), await known_of()
    names.answered.set()
    begun_late = resolver(names, known)
    assert await host(begun_late) == "192.0.2.1"
    names.error = None
    names.now += DNS_AGAIN_S
    await host(begun_late)
    await begun()
    assert await host(begun_late) == "192.0.2.2"


async def test_who_begins_waits_for_dns_though_others_had_an_answer() -> None:
    names = Names(address="192.0.2.2")
    asking = asyncio.create_task(host(resolver(names, await known_of())))
    await begun()
    names.answered.set()
    assert await asking == "192.0.2.2"


async def test_who_begins_while_dns_is_silent_waits_only_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "DNS_FIRST_S", 0.01)
    names, known = Names(address="192.0.2.2"), await known_of()
    asking = resolver(names, known)
    assert await asyncio.gather(*[host(asking) for _ in range(3)]) == ["192.0.2.1"] * 3
    assert names.asked == 1
    names.answered.set()
    await begun()
    assert await host(asking) == "192.0.2.2"


async def test_what_others_may_reach_is_not_what_an_upstream_may() -> None:
    """A name that leads somewhere private: known from an upstream that may be there."""
    names, known = Names(error=DOWN), await known_of("10.0.0.1")
    names.answered.set()
    with pytest.raises(UpstreamFailed):
        await host(resolver(names, known, replace(NAMED, allow_private=False)))


async def test_names_are_told_when_they_lead_elsewhere_and_addresses_are_not() -> None:
    known, other, told = KnownNames(), KnownNames(), []
    known.share(lambda one: told.append(json.dumps(one)))
    ours: list[Any] = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in ("192.0.2.1", "192.0.2.2")
    ]
    for found in (ours, ours[::-1], ours[:1]):
        known.note("up.invalid", 80, found)
    known.note("192.0.2.1", 80, ours[:1])
    assert len(told) == 2
    for one in told:
        other.hear(json.loads(one))
    other.share(told.append)
    assert [*other.of("up.invalid", 80)] == ours[:1]
    other.note("up.invalid", 80, ours[:1])
    assert len(told) == 2
    assert [*other.of("192.0.2.1", 80)] == [*other.of("up.invalid", 81)] == []


async def test_what_was_found_before_anybody_could_be_told_is_told_then() -> None:
    known, told = KnownNames(), []
    for address in ("192.0.2.1", "192.0.2.2"):
        known.note("store.invalid", 6379, [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 6379))])
    known.share(told.append)
    known.share(told.append)
    assert [one["found"][0][-1][0] for one in told] == ["192.0.2.2"]


@pytest.mark.parametrize(("error", "said"), [(OSError(24, "EMFILE"), "busy"), (socket.gaierror(-2, "unknown"), "dns")])
async def test_our_own_shortage_is_not_the_names_fault(error: OSError, said: str) -> None:
    names = Names(error=error)
    names.answered.set()
    with pytest.raises(UpstreamFailed) as failure:
        await host(resolver(names))
    assert failure.value.error == said


@pytest.fixture
async def listening() -> AsyncIterator[int]:
    """The port of somebody who listens at 127.0.0.1 alone."""
    async with await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


def pool_of(names: Names, port: int) -> Pool:
    pool = Pool(replace(NAMED, port=port), ResponseHeadParser(asyncio.get_running_loop()))
    pool._resolver = Resolver(pool.upstream, names)  # type: ignore[arg-type]
    return pool


async def test_who_has_moved_is_found_by_the_call_that_notices(listening: int) -> None:
    names = Names("127.0.0.2")
    names.answered.set()
    pool = pool_of(names, listening)
    with pytest.raises(UpstreamFailed, match="refused"):
        await pool.open()
    names.address, names.now = "127.0.0.1", DNS_AGAIN_S
    (await pool.open()).abort()
    assert names.asked == 2
    pool.close()


@pytest.mark.parametrize("error", [None, socket.gaierror(socket.EAI_AGAIN, "down")])
async def test_who_has_not_moved_is_asked_for_once_a_second(listening: int, error: OSError | None) -> None:
    names = Names("127.0.0.2")
    names.answered.set()
    pool = pool_of(names, listening)
    await pool._resolver.addresses()
    names.error = error
    for seconds in range(3):
        names.now = seconds * DNS_AGAIN_S
        for one in await asyncio.gather(*(pool.open() for _ in range(5)), return_exceptions=True):
            assert isinstance(one, UpstreamFailed)
            assert one.error == "refused"
    assert names.asked == 3
    pool.close()


async def test_a_slow_dns_does_not_hide_that_nobody_listens(listening: int) -> None:
    names = Names("127.0.0.2")
    names.answered.set()
    pool = pool_of(names, listening)
    await pool._resolver.addresses()
    names.answered.clear()
    names.now = DNS_AGAIN_S
    with pytest.raises(UpstreamFailed, match="refused"):
        await pool.open()
    names.answered.set()
    pool.close()


async def test_what_was_found_meanwhile_is_not_asked_for_again(listening: int) -> None:
    """The answer that a call went by had expired, and was being asked for again."""
    names = Names("127.0.0.2")
    names.answered.set()
    asking = pool_of(names, listening)._resolver
    tried = await asking.addresses()
    names.address, names.now = "127.0.0.1", DNS_TTL_S + 1
    assert await asking.addresses() == tried
    await begun()
    assert [info[4][0] for info in await asking.moved(tried)] == ["127.0.0.1"]
    assert names.asked == 2


async def _ask_beside_silent_names(silent: int) -> Any:
    """What `known.invalid` is, when so many names are being asked for whose DNS says nothing."""
    loop = asyncio.get_running_loop()
    asking = [asyncio.ensure_future(loop.getaddrinfo(f"silent-{n}.invalid", 80)) for n in range(silent)]
    await begun()
    found = await loop.getaddrinfo("known.invalid", 80, type=socket.SOCK_STREAM)
    assert not any(one.done() for one in asking)
    for one in asking:
        one.cancel()
    return found


def test_names_that_dns_is_silent_about_delay_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    over, really = threading.Event(), socket.getaddrinfo

    def getaddrinfo(host: str, *more: Any, flags: int = 0, **kind: Any) -> Any:
        if host.startswith("silent") and not flags & socket.AI_NUMERICHOST:
            over.wait()
        return really("192.0.2.1" if host == "known.invalid" else host, *more, flags=flags, **kind)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with asyncio.Runner(loop_factory=AskingLoop) as loop:
        try:
            found = loop.run(_ask_beside_silent_names(20))
        finally:
            over.set()
    assert [info[4] for info in found] == [("192.0.2.1", 80)]


def test_a_question_for_which_there_is_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def asked() -> None:
        with pytest.raises(UpstreamFailed) as failure:
            await Resolver(NAMED, asyncio.get_running_loop()).addresses()
        assert str(failure.value) == "busy: can't start new thread"

    monkeypatch.setattr(threading.Thread, "start", start)
    with asyncio.Runner(loop_factory=AskingLoop) as loop:
        loop.run(asked())
