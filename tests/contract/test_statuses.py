"""What is known about connections: the script, the memory of one process and the core agree, report by report."""

import re
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gateway.store.scripts.statuses as wire
from gateway.core.connections import counts, state
from gateway.core.connections.state import (
    ConnectionState,
    Failure,
    Named,
    Report,
    Track,
    Transition,
    new_track,
    reported,
    settled,
)
from gateway.store import StoreDown
from gateway.store.redis import RedisStore
from gateway.store.scripts.constants import inlined
from gateway.store.scripts.statuses import STATUS, Page, member_of
from gateway.store.shared import status
from gateway.store.shared.status import MOST, RETENTION_US, LocalStatuses, RedisStatuses, Statuses, open_statuses
from tests.core.connections.test_connection_state import (
    SAME_US,
    START,
    TROUBLES,
    WINDOW_US,
    Row,
    S,
    failed,
    limited,
    mixed,
    ok,
    refused,
    reports,
    shut,
)
from tests.fakes.examples import as_many

PREFIX = "t:"
ACME = Named("acme", "conn_42")
NAMES = [ACME, Named("globex", "conn_42"), Named("", "conn_42"), Named("acme", "conn_4"), Named("ac", "ein Gerät")]
T = TypeVar("T")


def finish(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    raise AssertionError("it waits")


class BareStore:
    """As much of a RedisStore as RedisStatuses needs, on a blocking client."""

    key_prefix, up = PREFIX, True

    def __init__(self, client: "redis.Redis") -> None:
        self.client = client
        self.sha = client.script_load(STATUS.source)

    async def run(self, script: Any, arguments: Sequence[Any]) -> Any:
        assert script.sha1_hex == self.sha
        return self.client.evalsha(self.sha, *arguments)


class Kept:
    """One implementation with a clock of the test's own and the transitions it told."""

    def __init__(self, client: "redis.Redis | None" = None, **options: Any) -> None:
        self.now_us = START
        self.told: list[Transition] = []
        self.statuses: Statuses
        if client is None:
            self.statuses = LocalStatuses(self.told.append, clock=lambda: self.now_us, **options)
        else:
            self.statuses = RedisStatuses(BareStore(client), self.told.append)  # type: ignore[arg-type]

    def _at(self) -> Statuses:
        if isinstance(self.statuses, RedisStatuses):
            self.statuses.now_us = self.now_us
        return self.statuses

    def report(self, *about: tuple[Named, Report]) -> list[ConnectionState]:
        return list(finish(self._at().report(about)))

    def find(self, connection: str, tenant: str | None = None) -> dict[Named, Track]:
        return {status.named: status.track for status in finish(self._at().find(connection, tenant))}

    def page(self, *states: ConnectionState, after: str = "", count: int = 100) -> Page:
        return finish(self._at().page(states or list(ConnectionState), after, count))


@pytest.fixture(params=["local", "script"])
def kept(request: pytest.FixtureRequest) -> Kept:
    """Each implementation in turn."""
    return Kept(request.getfixturevalue("server") if request.param == "script" else None)


# The same numbers ---------------------------------------------------------------------------------

waits = st.sampled_from([0, 1, S, 7 * S, 61 * S, 200 * S, WINDOW_US])
turns = st.lists(
    st.tuples(waits, st.lists(st.tuples(st.sampled_from(NAMES), reports()), max_size=3, unique_by=lambda t: t[0])),
    max_size=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=as_many(120), deadline=None)
@given(turns)
def test_script_local_store_and_core_agree(
    server: "redis.Redis", history: list[tuple[int, list[tuple[Named, Report]]]]
) -> None:
    server.flushall()
    model: dict[Named, Track] = {}
    script, local = Kept(server), Kept()
    now_us = START
    for wait_us, about in history:
        now_us += wait_us
        script.now_us = local.now_us = now_us
        for named, report in about:
            model[named] = reported(model.get(named) or new_track(now_us), report, now_us)
        expected = [model[named].state for named, _ in about]
        assert script.report(*about) == local.report(*about) == expected
        assert sorted(script.told) == sorted(local.told)
    for connection in {named.connection for named in NAMES}:
        found = {
            named: settled(track, now_us)._replace(since_us=0)
            for named, track in model.items()
            if named.connection == connection
        }
        for kept in (script, local):
            assert {n: track._replace(since_us=0) for n, track in kept.find(connection).items()} == found
    assert [status.named for status in script.page().statuses] == [status.named for status in local.page().statuses]


def test_numbers_the_script_has_of_its_own_are_those_of_the_core() -> None:
    lua = STATUS.source
    said = dict(
        pair
        for names, values in re.findall(r"^local ([A-Z_, ]+) = ([\dA-Z_*, ]+)$", lua, re.MULTILINE)
        for pair in zip(names.split(", "), values.split(", "), strict=True)
    )
    numbers = {name: eval(value, {"SECOND": S}) for name, value in said.items()}
    for name, theirs in {
        "OFFLINE_FAILURES": state.OFFLINE_FAILURES,
        "OFFLINE_AFTER": state.OFFLINE_AFTER_US,
        "SAME": state.SAME_US,
        "OTHER": state.OTHER_US,
        "HALF_LIFE": state.HALF_LIFE_US,
        "WEIGHT": state.WEIGHT,
        "LEAST_WEIGHT": state.LEAST_WEIGHT,
        "ENTER_SHARE": state.ENTER_SHARE,
        "LEAVE_SHARE": state.LEAVE_SHARE,
        "BUCKET": counts.BUCKET_US,
        "BUCKETS": counts.BUCKETS,
        "MAX_ROWS": counts.MAX_ROWS,
        "RETENTION_MS": RETENTION_US // 1000,
        "MOST": MOST,
    }.items():
        assert numbers[name] == theirs, name
    assert dict(re.findall(r"(\w+) = '([a-f])'", lua)) == {str(state): letter for state, letter in wire.LETTERS.items()}


def test_the_header_of_the_script() -> None:
    lines = (Path(wire.__file__).parents[1] / "lua" / "status.lua").read_text("utf-8").splitlines()
    head = "\n".join(lines[: next(i for i, line in enumerate(lines) if not line.startswith("--"))])
    assert tuple(re.findall(r"^-- ARGV\[\d\]  (\w+) ", head, re.MULTILINE)) == wire.STATUS_ARGV
    assert tuple(re.findall(r"^--   reply\.(\w+) ", head, re.MULTILINE)) == wire.STATUS_REPLY
    assert tuple(re.findall(r"^--   report\.(\w+)", head, re.MULTILINE)) == wire.REPORT_FIELDS
    listed = re.search(r"local FIELDS = \{(.*?)\}", STATUS.source, re.DOTALL)
    assert listed is not None
    assert tuple(re.findall(r"'(\w+)'", listed[1])) == wire.REPORT_FIELDS


# What both promise --------------------------------------------------------------------------------


def test_connections_of_two_tenants_are_two(kept: Kept) -> None:
    kept.report((ACME, refused()), (Named("globex", "conn_42"), ok()), (Named("acm", "conn_42"), shut()))
    assert {named.tenant: track.state for named, track in kept.find("conn_42").items()} == {
        "acme": "auth_required",
        "globex": "online",
        "acm": "offline",
    }
    assert list(kept.find("conn_42", "acm")) == [Named("acm", "conn_42")]
    assert kept.find("conn_4") == kept.find("conn_42", "") == {}


def test_each_transition_is_told_once(kept: Kept) -> None:
    for _ in range(3):
        kept.report((ACME, refused()))
    kept.now_us += SAME_US
    kept.report((ACME, ok()))
    told = [(one.before, one.status.track.state, one.before_since_us, one.status.track.since_us) for one in kept.told]
    assert told == [
        ("online", "auth_required", START, START),
        ("auth_required", "online", START, START + SAME_US),
    ]
    assert kept.told[0].status.named == ACME
    assert kept.told[0].status.track.failure == Failure(START, "auth_error", 401)


def test_of_many_who_report_the_same_one_tells(server: "redis.Redis") -> None:
    workers = [Kept(server) for _ in range(4)]
    for worker in workers:
        assert worker.report((ACME, refused())) == ["auth_required"]
    for worker in workers:
        worker.now_us += SAME_US
        worker.report((ACME, ok()))
    assert [len(worker.told) for worker in workers] == [2, 0, 0, 0]


def test_what_ends_by_itself_is_told_when_anybody_asks(kept: Kept) -> None:
    kept.report((ACME, limited(30 * S)))
    kept.now_us += 30 * S
    kept.report()
    assert [one.status.track.state for one in kept.told] == ["rate_limited", "online"]
    assert [status.track.state for status in kept.page(ConnectionState.ONLINE).statuses] == ["online"]
    assert kept.page(ConnectionState.RATE_LIMITED).statuses == ()


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_clock_that_steps_back_is_made_good_alike(server: "redis.Redis", trouble: str) -> None:
    script, local = Kept(server), Kept()
    for kept in (script, local):
        for wait_us, report in TROUBLES[trouble]:
            kept.now_us += wait_us
            kept.report((ACME, report))
        kept.now_us -= 100_000 * S
        for wait_us in (0, 100 * S, 100 * S):
            kept.now_us += wait_us
            kept.report((ACME, ok(1_000)))
    assert script.told[-1].status.track.state == "online"
    told = [[one._replace(before_since_us=0) for one in kept.told] for kept in (script, local)]
    assert told[0] == told[1]  # but for when it was before: only one of them looks at all that ends by itself
    assert script.find("conn_42") == local.find("conn_42")


def test_pages_are_worst_first_and_complete(kept: Kept) -> None:
    for number in range(25):
        report = [ok(), refused(), shut(), limited(900 * S)][number % 4]
        kept.report((Named("acme", f"c{number:02}"), report))
    everything = kept.page().statuses
    assert [status.track.state for status in everything] == sorted(
        (status.track.state for status in everything), key=list(ConnectionState).index
    )
    assert len(everything) == 25
    pages, after = [], ""
    while True:
        page = kept.page(ConnectionState.OFFLINE, ConnectionState.AUTH_REQUIRED, after=after, count=4)
        pages.append([status.named.connection for status in page.statuses])
        after = page.after
        if not after:
            break
    assert pages == [["c02", "c06", "c10", "c14"], ["c18", "c22", "c01", "c05"], ["c09", "c13", "c17", "c21"], []]


def test_a_large_page_is_read_in_pieces(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "PIECE", 4)
    kept.report(*((Named("acme", f"c{number:02}"), ok()) for number in range(10)))
    assert [len(kept.page(count=count).statuses) for count in (3, 4, 9, 10, 11, 100)] == [3, 4, 9, 10, 10, 10]
    page = kept.page(count=9)
    assert [one.named.connection for one in kept.page(after=page.after, count=9).statuses] == ["c09"]
    assert kept.page(count=100).after == ""


def test_a_connection_nobody_uses_for_a_week_is_forgotten(kept: Kept, request: pytest.FixtureRequest) -> None:
    kept.report((ACME, refused()), (Named("acme", "limited"), limited(RETENTION_US)))
    kept.now_us += RETENTION_US + 1
    if isinstance(kept.statuses, RedisStatuses):
        server = request.getfixturevalue("server")
        keys = server.keys(f"{PREFIX}*")
        assert len(keys) == 5
        assert all(0 < server.pttl(key) <= RETENTION_US // 1000 for key in keys)
        server.delete(PREFIX + wire.TAG + member_of(ACME))  # as the server does by its own clock
    kept.report((Named("acme", "other"), ok()))
    assert {status.named.connection for status in kept.page().statuses} == {"other"}
    assert kept.find("conn_42") == {}


def run_instead(server: "redis.Redis", monkeypatch: pytest.MonkeyPatch, numbers: str, others: str) -> None:
    """Let the script have other numbers."""
    parts = ("clock", "connection_counts", "connection_state", "status")
    lua = "\n".join((Path(wire.__file__).parents[1] / "lua" / f"{part}.lua").read_text("utf-8") for part in parts)
    assert inlined(lua) == STATUS.source
    assert numbers in lua
    sha = server.script_load(inlined(lua.replace(numbers, others)))
    monkeypatch.setattr(server, "evalsha", lambda _sha, *arguments: server.execute_command("EVALSHA", sha, *arguments))


def test_at_most_so_many_are_remembered(server: "redis.Redis", monkeypatch: pytest.MonkeyPatch) -> None:
    script, local = Kept(server), Kept(most=5)
    run_instead(server, monkeypatch, ", 20000\n", ", 5\n")
    for kept in (script, local):
        for number in range(9):
            kept.now_us += S
            kept.report((Named("acme", f"c{number}"), refused() if number % 2 else ok()))
            kept.report((Named("acme", "c1"), ok()))
        assert {status.named.connection for status in kept.page().statuses} == {"c1", "c5", "c6", "c7", "c8"}
    assert len(server.keys(f"{PREFIX}*")) == 5 + 2  # nothing ends by itself here


def test_time_does_its_part_also_when_too_many_are_due(server: "redis.Redis", monkeypatch: pytest.MonkeyPatch) -> None:
    script = Kept(server)
    run_instead(server, monkeypatch, "MOST_DUE, MOST_FORGOTTEN = 32,", "MOST_DUE, MOST_FORGOTTEN = 0,")
    assert script.report((ACME, failed())) == ["degraded"]
    script.now_us += 200 * S
    assert script.report((ACME, mixed(11, 1))) == ["online"]
    assert [one.status.track.state for one in script.told] == ["degraded", "online"]


def test_time_alone_makes_nothing_last_longer(server: "redis.Redis") -> None:
    script = Kept(server)
    script.report((ACME, limited(30 * S)), (Named("acme", "gone"), limited(30 * S)))
    key = PREFIX + wire.TAG + member_of(ACME)
    server.pexpire(key, 60_000)
    server.delete(PREFIX + wire.TAG + member_of(Named("acme", "gone")))
    script.now_us += 30 * S
    script.report()
    assert 0 < server.pttl(key) <= 60_000
    assert server.keys(f"{PREFIX}*due") == []
    assert server.zcard(f"{PREFIX}{wire.TAG}states") == server.zcard(f"{PREFIX}{wire.TAG}seen") == 1


def test_memory_of_a_connection_is_bounded(server: "redis.Redis") -> None:
    script = Kept(server)
    many = tuple(Row(f"operation-{number:02}", "entity", ok=1) for number in range(40))
    for _ in range(12):
        script.now_us += 60 * S
        script.report((ACME, Report(many, answer_us=0)), (Named("acme", "small"), ok(5)))
    largest, usual = (
        server.strlen(PREFIX + wire.TAG + member_of(Named("acme", name))) for name in ("conn_42", "small")
    )
    assert 8_000 < largest < 16_000
    assert usual < 700
    (track,) = script.find("conn_42").values()
    assert {len(bucket.rows) for bucket in track.buckets} == {counts.MAX_ROWS + 1}
    assert counts.totals(track.buckets)[counts.OTHER].ok == 10 * 8


async def test_statuses_live_in_the_store_or_in_the_worker(redis_url: str, redis_client: Any) -> None:
    store = RedisStore(redis_url, timeout_us=20_000_000)
    told: list[Transition] = []
    await store.start()
    try:
        statuses = open_statuses(store, told.append)
        assert statuses.up
        assert await statuses.report([(ACME, failed(9))]) == ("offline",)
        assert [status.named for status in await open_statuses(store, told.append).find("conn_42")] == [ACME]
    finally:
        await store.close()
    assert len(told) == 1
    assert not statuses.up
    assert await statuses.report([(ACME, failed(9))]) == ()
    for read in (statuses.find("conn_42"), statuses.page(list(ConnectionState), "", 10)):
        with pytest.raises(StoreDown):
            await read


EARLIER = """
local track = cmsgpack.unpack(redis.call('GET', KEYS[1]))
track.offline_us, track.shut = next(track.shut) and track.shut[''], nil
redis.call('SET', KEYS[1], cmsgpack.pack(track))
"""


def test_what_gateways_have_kept_that_knew_no_breakers_by_name(server: "redis.Redis") -> None:
    script = Kept(server)
    script.report((ACME, shut()))
    server.eval(EARLIER, 1, PREFIX + wire.TAG + member_of(ACME))
    (before,) = script.find(ACME.connection).values()
    assert (before.state, before.offline_us, before.shut) == (ConnectionState.OFFLINE, START, ())
    script.now_us += S
    assert script.report((ACME, ok())) == [ConnectionState.ONLINE]
