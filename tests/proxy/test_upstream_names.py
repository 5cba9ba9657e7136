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

from gateway.core.upstream import Timeouts, Upstream
from gateway.names import LASTS_S, KnownNames
from gateway.supervisor.event_loop import AskingLoop
from gateway.upstream import connect
from gateway.upstream.connect import DNS_AGAIN_S, DNS_STALE_S, DNS_TTL_S, DNS_YOUNG_S, Resolver
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


async def test_a_call_of_little_time_has_some_left_for_the_address_that_is_known(listening: int) -> None:
    """DNS says nothing; half of the time to connect is for it."""
    known = KnownNames()
    known.note(NAMED.host, listening, found_at("127.0.0.1", port=listening), 0.0)
    timeouts = replace(NAMED.timeouts, connect_us=400_000)
    pool = pool_of(Names(), listening, known, timeouts)
    (await pool.open()).abort()
    pool.close()


async def test_who_asks_later_waits_no_more_for_a_dns_that_has_had_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "DNS_FIRST_S", 60.0)
    names, known = Names(), await known_of()
    asking = resolver(names, known)
    given_up = asyncio.create_task(host(asking))
    await begun()
    given_up.cancel()
    names.now = 60.0
    async with asyncio.timeout(30):
        assert await asking.addresses(patience_s=60.0)
    assert names.asked == 1


async def test_an_old_answer_of_others_serves_only_when_dns_is_down() -> None:
    names, known = Names(error=DOWN, now=DNS_YOUNG_S), await known_of()
    asking = asyncio.create_task(host(resolver(names, known)))
    await turns(10)
    assert not asking.done()
    names.answered.set()
    assert await asking == "192.0.2.1"


async def test_a_young_answer_of_others_that_is_taken_over_grows_old() -> None:
    names, known = Names(now=DNS_YOUNG_S - 1), await known_of()
    begun_late = resolver(names, known)
    assert await begun_late.addresses(patience_s=0.0)
    names.now += 1
    asking = asyncio.create_task(host(begun_late))
    await turns(10)
    assert not asking.done()
    names.answered.set()
    assert await asking == "192.0.2.1"


async def test_nobody_goes_by_what_others_were_told_yesterday() -> None:
    names, known = Names(error=DOWN, now=LASTS_S), await known_of()
    names.answered.set()
    with pytest.raises(UpstreamFailed):
        await host(resolver(names, known))


NO_SUCH_NAME = socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@pytest.mark.parametrize("number", [socket.EAI_NONAME, socket.EAI_NODATA])
async def test_where_there_is_no_such_name_others_addresses_are_nobodys(number: int) -> None:
    names, known = Names(), await known_of()
    begun_late = resolver(names, known)
    assert await begun_late.addresses(patience_s=0.0)
    names.now, names.error = 1.0, socket.gaierror(number, "no such name")
    names.answered.set()
    await begun()
    with pytest.raises(UpstreamFailed, match="no such name"):
        await host(begun_late)
    names.error = DOWN
    with pytest.raises(UpstreamFailed):
        await host(resolver(names, known))


async def test_where_there_is_no_such_name_any_more_what_dns_said_to_us_serves_on() -> None:
    names, known = Names(), KnownNames()
    names.answered.set()
    asking = resolver(names, known)
    await host(asking)
    names.now, names.error = DNS_YOUNG_S, NO_SUCH_NAME
    assert await host(asking) == "192.0.2.1"
    assert not known.of(NAMED.host, NAMED.port).found


async def asked_before_others(names: Names) -> Resolver:
    """Of 192.0.2.1, at zero; a minute later others have heard of 192.0.2.9."""
    known = KnownNames()
    names.answered.set()
    asking = resolver(names, known)
    await host(asking)
    known.note(NAMED.host, NAMED.port, found_at("192.0.2.9"), 60.0)
    return asking


async def test_who_has_an_old_answer_goes_by_a_younger_one_of_others_when_dns_is_down() -> None:
    names = Names()
    asking = await asked_before_others(names)
    names.now, names.error = 3_600.0, DOWN
    assert await host(asking) == "192.0.2.9"


@pytest.mark.parametrize("now", [61.0, 60.0 + DNS_YOUNG_S - 1])
async def test_who_has_an_old_answer_goes_by_a_younger_one_of_others_when_dns_is_silent(now: float) -> None:
    names = Names()
    asking = await asked_before_others(names)
    names.now = now
    names.answered.clear()
    found = await asking.addresses(patience_s=0.0)
    assert found[0][4][0] == "192.0.2.9"


def found_at(*addresses: str, port: int = 80) -> list[Any]:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]


def test_names_are_told_as_json_and_addresses_are_not() -> None:
    known, other, told = KnownNames(), KnownNames(), []
    known.share(lambda one: told.append(json.dumps(one)))
    known.note("up.invalid", 80, found_at("192.0.2.1", "192.0.2.2"), 1.0)
    known.note("192.0.2.1", 80, found_at("192.0.2.1"), 1.0)
    for one in told:
        other.hear(json.loads(one))
    assert other.of("up.invalid", 80) == (found_at("192.0.2.1", "192.0.2.2"), 1.0)
    assert [*other.of("192.0.2.1", 80).found] == [*other.of("up.invalid", 81).found] == []


def test_a_name_is_told_at_once_when_it_leads_elsewhere_else_once_a_minute() -> None:
    known, told = KnownNames(), []
    known.share(lambda one: told.append(one["at_s"]))
    for now_s in range(0, 61, 10):
        known.note("up.invalid", 80, found_at("192.0.2.1", f"192.0.2.{10 + now_s}"), float(now_s))
    assert told == [0.0, 60.0]
    known.note("up.invalid", 80, found_at("192.0.2.2"), 70.0)
    assert told == [0.0, 60.0, 70.0]


def test_what_one_has_told_its_siblings_need_not_tell() -> None:
    told: list[Any] = []
    siblings = [KnownNames() for _ in range(4)]
    for one in siblings:
        one.share(lambda what: [told.append(what), *(other.hear(what) for other in siblings)])
    for turn in range(360):
        for number, one in enumerate(siblings):
            one.note("up.invalid", 80, found_at(f"192.0.2.{(turn + number * 3) % 8}"), turn * 10.0 + number)
    assert len(told) <= 2 * 60, "an hour of a name that leads elsewhere each time"


def test_the_youngest_answer_counts_whoever_comes_first() -> None:
    known, other, told = KnownNames(), KnownNames(), []
    known.share(told.append)
    known.note("up.invalid", 80, found_at("192.0.2.1"), 1.0)
    other.note("up.invalid", 80, found_at("192.0.2.2"), 2.0)
    other.hear(told[0])
    assert other.of("up.invalid", 80).at_s == 2.0


def test_that_there_is_no_such_name_is_told() -> None:
    known, other = KnownNames(), KnownNames()
    known.share(other.hear)
    known.forget("up.invalid", 80, 1.0)
    assert known.told() == []
    known.note("up.invalid", 80, found_at("192.0.2.1"), 1.0)
    assert other.of("up.invalid", 80).found
    known.forget("up.invalid", 80, 61.0)
    assert not other.of("up.invalid", 80).found


def test_names_that_nobody_asks_for_any_more_are_forgotten() -> None:
    known = KnownNames()
    known.note("store.invalid", 6379, found_at("192.0.2.1"), 0.0, lasting=True)
    for now_s in (0.0, LASTS_S, 2 * LASTS_S):
        known.note(f"up-{now_s}.invalid", 80, found_at("192.0.2.1"), now_s)
    heard = KnownNames()
    for told in known.told():
        heard.hear(told)
    heard.note("up.invalid", 80, found_at("192.0.2.1"), 3 * LASTS_S)
    assert [one["host"] for one in known.told()] == ["store.invalid", f"up-{2 * LASTS_S}.invalid"]
    assert [one["host"] for one in heard.told()] == ["store.invalid", "up.invalid"]


async def test_what_was_found_before_anybody_could_be_told_is_told_then() -> None:
    known, told = KnownNames(), []
    for address in ("192.0.2.1", "192.0.2.2"):
        known.note("store.invalid", 6379, found_at(address), 0.0, lasting=True)
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


def pool_of(names: Names, port: int, known: KnownNames | None = None, timeouts: Timeouts = NAMED.timeouts) -> Pool:
    pool = Pool(replace(NAMED, port=port, timeouts=timeouts), ResponseHeadParser(asyncio.get_running_loop()))
    pool._resolver = Resolver(pool.upstream, names, known)  # type: ignore[arg-type]
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


async def test_where_it_has_moved_others_may_have_heard(listening: int) -> None:
    """DNS says nothing to who notices."""
    names, known = Names("127.0.0.2"), KnownNames()
    names.answered.set()
    pool = pool_of(names, listening, known)
    await pool._resolver.addresses()
    names.answered.clear()
    names.now = DNS_AGAIN_S
    known.note(NAMED.host, listening, found_at("127.0.0.1", port=listening), names.now)
    (await pool.open()).abort()
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
