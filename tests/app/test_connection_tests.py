"""Testing a connection: each step against servers that are well, or ill in one way."""

import asyncio
import socket
import ssl
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop

from gateway.connection_tests import probing as probing_module
from gateway.connection_tests.probing import Probing
from gateway.connection_tests.steps import Subject, check, upstreams_of
from gateway.core.connections.names import name_of
from gateway.core.connections.state import Named, Report
from gateway.core.units import SECOND_US
from gateway.record import CallRecord
from gateway.store import Store, StoreDown
from gateway.store.local.store import LocalStore
from gateway.store.redis import RedisStore
from gateway.store.shared.shelf import Found, Shelf
from gateway.store.shared.status import LocalStatuses, Status
from gateway.upstream.checkup import Step, Timed
from tests.app.conftest import Running, Start
from tests.fakes.oauth_server import CLIENT, SECRET, Authority
from tests.fakes.ports import free_port
from tests.fakes.upstream import Received, Socket, Upstream
from tests.fakes.waiting import eventually

POLICIES = """
version: 1
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: skip}
  connection: {from: header, name: X-Connection-Id, on_missing: skip}
limits:
  one: {algorithm: rolling_window, limit: 1, window: 10m, key: [connection]}
upstreams:
  up: {url: "%(url)s/base", timeouts: {connect: 5s, first_byte: %(wait)s}, probe: {path: /health%(more)s}%(upstream)s}
%(credentials)s
routes:
  - {name: all, match: {path_prefix: /}, upstream: up, limits: [one]}
"""
BEARER = """
credentials:
  c1: {upstream: up, match: {connection: c1}, type: bearer, token: "env:TOKEN"}
  c2: {upstream: up, match: {connection: c2}, type: query, name: key, value: "env:TOKEN"}
"""


def policies(url: str, credentials: str = "", more: str = "", upstream: str = "", wait: str = "20s") -> str:
    return POLICIES % {"url": url, "credentials": credentials, "more": more, "upstream": upstream, "wait": wait}


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "s3cr3t")


async def try_out(gateway: Running, connection: str = "c1", tenant: str = "") -> tuple[dict[str, Any], CallRecord]:
    records: list[CallRecord] = []
    gateway.gateway.on_checked = records.append
    found = await check(gateway.gateway, Subject(connection, tenant, gateway.gateway.policies.upstreams["up"]))
    (record,) = records
    assert "s3cr3t" not in f"{found} {vars(record)}"
    return found, record


def steps(found: dict[str, Any]) -> dict[str, bool | None]:
    return {step["step"]: step["ok"] for step in found["steps"]}


def last(found: dict[str, Any]) -> str:
    return str(found["steps"][-1]["detail"])


async def test_all_is_well_and_nothing_is_charged(start: Start, upstream: Upstream) -> None:
    gateway = await start(policies(upstream.url.replace("127.0.0.1", "localhost"), BEARER))
    for connection, target in (("c1", "/base/health"), ("c2", "/base/health?key=s3cr3t")) * 3:
        found, record = await try_out(gateway, connection)
        assert found["ok"] is True
        assert steps(found) == {"dns": True, "tcp": True, "http": True, "credentials": True}
        assert (found["request"], found["credentials"]) == ("GET /base/health", connection)
        assert all(step["took_ms"] >= 0 for step in found["steps"])
        assert (record.connection, record.upstream_status, record.error_class) == (connection, 200, "")
        got = upstream.received[-1]
        assert (got.target, got.fields("X-Request-Id")) == (target, [record.request_id])
        assert got.fields("Authorization") == (["Bearer s3cr3t"] if connection == "c1" else [])
    assert gateway.records.all == []


@pytest.mark.parametrize(
    ("status", "more", "expected", "error_class", "detail"),
    [
        (401, "", {"http": True, "credentials": False}, "auth_error", "c1 were refused (401)"),
        (403, "", {"http": True, "credentials": False}, "auth_error", "c1 lack a permission for GET /health (403)"),
        (
            404,
            "",
            {"http": True, "credentials": None},
            "client_error",
            "the answer does not say whether c1 were accepted",
        ),
        (
            503,
            "",
            {"http": False, "credentials": None},
            "server_error",
            "the answer does not say whether c1 were accepted",
        ),
        (204, ", expect: [200]", {"http": False, "credentials": True}, "", "c1 were accepted"),
        (
            404,
            ", expect: [2xx, 404]",
            {"http": True, "credentials": None},
            "client_error",
            "the answer does not say whether c1 were accepted",
        ),
    ],
)
async def test_what_answers_mean(
    start: Start, upstream: Upstream, status: int, more: str, expected: dict[str, Any], error_class: str, detail: str
) -> None:
    async def answer(_got: Received, _socket: Socket) -> bytes:
        return (
            b"HTTP/1.1 %d X\r\nContent-Length: 6\r\n\r\ns3cr3t" % status if status != 204 else b"HTTP/1.1 204 X\r\n\r\n"
        )

    upstream.script = answer
    found, record = await try_out(await start(policies(upstream.url, BEARER, more)))
    assert steps(found).items() >= expected.items()
    assert found["ok"] is (False not in expected.values())
    assert (record.upstream_status, record.error_class, last(found)) == (status, error_class, detail)


@pytest.mark.parametrize("said", ["slow down", "forbidden"])
async def test_too_many_calls_are_no_missing_permission(start: Start, upstream: Upstream, said: str) -> None:
    async def answer(_got: Received, socket: Socket) -> bytes:
        await socket.send(b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n")
        return b'%x\r\n{"why":"%b"}\r\n0\r\n\r\n' % (len(said) + 10, said.encode())

    upstream.script = answer
    learned = ", learn_limits: {scope: connection, also_when: [{status: [403], pointer: /why, is: slow down}]}"
    found, record = await try_out(await start(policies(upstream.url, BEARER, upstream=learned)))
    limited = said == "slow down"
    assert (found["ok"], record.error_class) == ((True, "rate_limited") if limited else (False, "auth_error"))
    assert steps(found)["credentials"] is (None if limited else False)


async def test_the_other_side_is_not_there_or_does_not_speak(start: Start, upstream: Upstream) -> None:
    closed = await start(policies(f"http://127.0.0.1:{free_port()}"))
    found, record = await try_out(closed)
    assert steps(found) == {"dns": True, "tcp": False}
    assert record.error_class == "connect"
    assert "Connection refused" in last(found)
    assert record.error_detail == f"tcp: {last(found)}"
    nowhere = await start(policies("http://nowhere.invalid"))
    found, record = await try_out(nowhere)
    assert steps(found) == {"dns": False}
    assert last(found).startswith("nowhere.invalid: ")
    private = await start(policies(upstream.url, upstream=", allow_private: false"))
    assert "private" in last((await try_out(private))[0])

    async def silent(_got: Received, _socket: Socket) -> None:
        return None

    async def garbage(_got: Received, _socket: Socket) -> bytes:
        return b"s3cr3t\r\n\r\n"

    gateway = await start(policies(upstream.url, BEARER))

    async def http2(_got: Received, _socket: Socket) -> bytes:
        return bytes.fromhex("000000040000000000") + bytes.fromhex("000008070000000000") + bytes(8)

    for script, detail in ((garbage, "malformed"), (silent, "no answer"), (http2, "an HTTP/2 frame")):
        upstream.script = script
        found, record = await try_out(gateway)
        assert steps(found) == {"dns": True, "tcp": True, "http": False}
        assert detail in last(found)
        assert record.error_class in ("malformed", "reset", "timeout")


async def test_an_upstream_that_takes_the_call_and_never_answers_is_given_up(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        gateway = await start(policies(f"http://127.0.0.1:{listening.getsockname()[1]}", wait="100ms"))
        found, record = await try_out(gateway)
    assert (steps(found)["http"], record.error_class) == (False, "timeout")
    assert last(found) == "no answer within 0.1 s"


async def test_without_credentials_of_its_own(start: Start, upstream: Upstream) -> None:
    found, _ = await try_out(await start(policies(upstream.url, BEARER)), "stranger")
    assert steps(found) == {"dns": True, "tcp": True, "credentials": False}
    optional = await start(policies(upstream.url, BEARER, upstream=", credentials: optional"))
    assert steps((await try_out(optional, "stranger"))[0]) == {"dns": True, "tcp": True, "http": True}


@pytest.mark.parametrize(("days", "well"), [(365, True), (3, True), (-1, False)])
async def test_how_long_the_upstreams_certificate_still_holds(
    start: Start, tmp_path: Path, days: int, well: bool
) -> None:
    authority_, context = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ends = datetime.now(UTC) + timedelta(days=days, hours=1)
    issued = authority_.issue_cert("localhost", not_before=datetime(2020, 1, 1, tzinfo=UTC), not_after=ends)
    issued.configure_cert(context)
    authority_.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with Upstream(tls=context) as server:
        url = server.url.replace("127.0.0.1", "localhost").replace("http://", "https://")
        found, record = await try_out(await start(policies(url, upstream=f', tls: {{ca_file: "{tmp_path}/ca.pem"}}')))
        assert steps(found)["tls"] is well
        if well:
            (step,) = [step for step in found["steps"] if step["step"] == "tls"]
            assert step["expires_in_days"] == days
            assert ("renew it" in step["detail"]) is (days < 14)
            assert (step["issuer"] or "").startswith("trustme")
        else:
            assert ("expired" in last(found), record.error_class) == (True, "tls")
        stranger, _ = await try_out(await start(policies(url)))
        assert (steps(stranger)["tls"], "certificate for localhost: " in last(stranger)) == (False, True)
        plain, _ = await try_out(await start(policies(server.url.replace("https://", "http://"))))
        assert steps(plain)["http"] is False


async def test_tokens_are_had_first(start: Start, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ID", CLIENT)
    monkeypatch.setenv("SECRET", SECRET)
    token = f'credentials: {{c1: {{upstream: up, match: {{connection: c1}}, type: oauth2, token_url: "{authority.token_url}", client_id: "env:ID", client_secret: "env:SECRET"}}}}'
    gateway = await start(policies(f"{authority.url}/api", token))
    found, _ = await try_out(gateway)
    assert steps(found) == {"dns": True, "tcp": True, "token": True, "http": True, "credentials": True}
    authority.control(mode="refuse")
    refused = await start(policies(f"{authority.url}/api", token))
    found, record = await try_out(refused)
    assert (steps(found)["token"], last(found), record.error_class) == (False, "invalid_client", "token_refused")


async def test_where_a_connection_leads(start: Start, upstream: Upstream) -> None:
    text = policies(upstream.url, BEARER).replace("upstreams:", f'upstreams:\n  other: {{url: "{upstream.url}"}}')
    text = text.replace("routes:", "routes:\n  - {name: other, match: {path_prefix: /other/}, upstream: other}")
    found = (await start(text)).gateway.policies
    assert [one.name for one in upstreams_of(found, "c1", "")] == ["up"]
    assert sorted(one.name for one in upstreams_of(found, "stranger", "acme")) == ["other", "up"]


async def test_connections_are_tested_by_themselves_by_one_of_all(start: Start, upstream: Upstream) -> None:
    text = policies(upstream.url, BEARER, ", interval: 1h")
    fleet = [await start(text), await start(text)]
    records: list[CallRecord] = []
    probings = []
    for number, one in enumerate(fleet):
        one.gateway.on_checked = records.append
        probing = Probing(one.gateway, Shelf(one.gateway.store), LocalStatuses(print), f"worker-{number}", 0.005)
        probing._due["up"] = 3600 * 10**6, 0.0
        probing.start()
        probings.append(probing)
    await upstream.until(lambda: len(upstream.received) >= 2)
    await eventually(lambda: not any(probing._under_way or not probing._due["up"][1] for probing in probings))
    assert sorted(record.connection for record in records) == ["c1", "c2"]
    for probing in probings:
        await probing.close()
    assert len(upstream.received) == 2


class Away(LocalStatuses):
    """Cannot be asked: the store is away."""

    async def find(self, connection: str, tenant: str | None = None) -> Sequence[Status]:
        raise StoreDown("connect", "away")


@pytest.mark.parametrize(
    ("known", "away", "tested"),
    [
        ([], False, ["", ""]),
        (["acme"], False, ["", "acme"]),
        (["acme", "bee"], False, ["", ""]),
        (["acme", ""], False, ["", ""]),
        (["x" * 200], False, ["", ""]),
        (["acme"], True, ["", ""]),
    ],
)
async def test_by_themselves_connections_are_tested_as_those_of_their_callers(
    start: Start, upstream: Upstream, known: list[str], away: bool, tested: list[str]
) -> None:
    """Of `c1`; nobody has called `c2`. What the credentials do not say is known by those who called."""
    running = await start(policies(upstream.url, BEARER, ", interval: 1h"))
    records: list[CallRecord] = []
    running.gateway.on_checked = records.append
    statuses = (Away if away else LocalStatuses)(lambda _: None)
    await statuses.report([(name_of(tenant, "c1"), Report()) for tenant in known])
    await statuses.report([(Named("other", "c3"), Report())])
    probing = Probing(running.gateway, Shelf(running.gateway.store), statuses, "worker")
    probing._due["up"] = 3600 * 10**6, 0.0
    probing._look(1.0)
    await eventually(lambda: not probing._under_way)
    assert sorted(record.tenant for record in records) == tested
    await probing.close()


async def test_credentials_that_say_whose_a_connection_is_are_tested_as_theirs(
    start: Start, upstream: Upstream
) -> None:
    credentials = BEARER.replace("{connection: c1}", "{tenant: acme, connection: c1}")
    running = await start(policies(upstream.url, credentials))
    statuses = LocalStatuses(lambda _: None)
    await statuses.report([(Named("bee", "c1"), Report())])
    probing = Probing(running.gateway, Shelf(running.gateway.store), statuses, "worker")
    up = running.gateway.policies.upstreams["up"]
    assert await probing._owned(Subject("c1", "acme", up)) == Subject("c1", "acme", up)


async def test_an_interval_that_was_edited_counts_from_then_on(start: Start, upstream: Upstream) -> None:
    daily, often = [await start(policies(upstream.url, BEARER, f", interval: {one}")) for one in ("24h", "5s")]
    gateway = daily.gateway
    probing = Probing(gateway, Shelf(gateway.store), LocalStatuses(print), "worker")
    day_s = 86_400.0

    async def look(now_s: float) -> int:
        probing._look(now_s)
        await eventually(lambda: not probing._under_way)
        return len(upstream.received)

    assert await look(0.0) == 0
    assert [await look(day_s), await look(day_s + 5)] == [2, 2]
    gateway.policies = often.gateway.policies
    assert await look(day_s + 10) == 2
    assert await look(day_s + 15) == 4
    await probing.close()


async def test_a_socket_in_the_file_system(start: Start, tmp_path: Path) -> None:
    gateway = await start(policies(f"unix://{tmp_path}/none.sock"))
    found, _ = await try_out(gateway)
    assert steps(found) == {"socket": False}


async def test_the_upstream_is_told_which_connection_is_meant(start: Start, upstream: Upstream) -> None:
    plain = policies(upstream.url)
    found, record = await try_out(await start(plain), "c 1/é", "acme")
    got = upstream.received[-1]
    assert (found["ok"], steps(found)["http"], record.connection) == (True, True, "c 1/é")
    assert got.fields("X-Connection-Id") == ["c 1/é".encode().decode("latin-1")]
    assert got.fields("X-Tenant-Id") == ["acme"]
    queried = plain.replace("{from: header, name: X-Connection-Id", "{from: query, name: conn")
    found, _ = await try_out(await start(queried), "c 1&é")
    assert upstream.received[-1].target == "/base/health?conn=c%201%26%C3%A9"
    assert found["request"] == "GET /base/health?conn=c%201%26%C3%A9"
    await try_out(await start(queried), "c\udcff\r\n")
    assert upstream.received[-1].target == "/base/health?conn=c%FF%0D%0A"


@pytest.mark.parametrize("name", ["Host", "Authorization"])
async def test_a_field_that_the_test_needs_itself_names_no_connection(
    start: Start, upstream: Upstream, name: str
) -> None:
    tenant = policies(
        upstream.url, BEARER.replace("{connection: c1}", "{tenant: acme}").replace("{connection", "{tenant")
    )
    gateway = await start(tenant.replace("X-Connection-Id", name))
    upstream_ = gateway.gateway.policies.upstreams["up"]
    found = await check(gateway.gateway, Subject("c1", "acme", upstream_))
    got = upstream.received[-1]
    assert (found["ok"], found["credentials"]) == (None, "c1")
    assert got.fields("Host") == [upstream_.authority]
    assert got.fields("Authorization") == ["Bearer s3cr3t"]


@pytest.mark.parametrize("name", ["c1\r\nX-Admin: yes", "c1\n", "\r", "c\0", "c\x1b[2J", "c\x7f"])
async def test_a_name_that_is_no_field_value_begins_no_line_of_its_own(
    start: Start, upstream: Upstream, name: str
) -> None:
    gateway = await start(policies(upstream.url))
    found = await check(gateway.gateway, Subject(name, "acme", gateway.gateway.policies.upstreams["up"]))
    got = upstream.received[-1]
    assert (found["ok"], got.fields("X-Connection-Id"), got.fields("X-Admin")) == (None, [], [])
    assert got.fields("X-Tenant-Id") == ["acme"]


@pytest.mark.parametrize("credentials", ["", BEARER.replace("match: {connection: c1}", "match: {tenant: acme}")])
async def test_an_answer_about_nobody_says_nothing_and_changes_no_state(
    start: Start, upstream: Upstream, credentials: str
) -> None:
    of_a_path = policies(upstream.url, credentials).replace(
        "{from: header, name: X-Connection-Id, on_missing: skip}", "{from: path, name: id, on_missing: skip}"
    )
    of_a_path = of_a_path.replace("path_prefix: /}", 'path: "/c/{id}"}')
    gateway = await start(of_a_path)
    records: list[CallRecord] = []
    gateway.gateway.on_checked = records.append
    found = await check(gateway.gateway, Subject("c1", "acme", gateway.gateway.policies.upstreams["up"]))
    assert (found["ok"], steps(found)["http"], records) == (None, None, [])
    (http,) = [step for step in found["steps"] if step["step"] == "http"]
    assert http["detail"] == "answered 200; cannot tell: the upstream was not told which connection is meant"
    nowhere = await start(of_a_path.replace(upstream.url, f"http://127.0.0.1:{free_port()}"))
    found, _ = await try_out(nowhere)
    assert (found["ok"], steps(found)) == (False, {"dns": True, "tcp": False}), "nobody can reach it"


@pytest.mark.parametrize("status", [401, 403])
async def test_credentials_that_callers_bring_are_not_judged(start: Start, upstream: Upstream, status: int) -> None:
    async def answer(_got: Received, _socket: Socket) -> bytes:
        return b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status

    upstream.script = answer
    gateway = await start(policies(upstream.url))
    records: list[CallRecord] = []
    gateway.gateway.on_checked = records.append
    found = await check(gateway.gateway, Subject("c1", "", gateway.gateway.policies.upstreams["up"]))
    assert (found["ok"], steps(found)["credentials"], records) == (None, None, [])
    assert last(found).startswith("cannot tell: none are the gateway's to show")


def test_a_step_is_timed_finer_than_the_loop_counts() -> None:
    """uvloop's clock stands still while a callback runs, and goes in whole milliseconds else."""

    async def busy() -> tuple[Step, float]:
        timed, began = Timed(), time.monotonic()
        while time.monotonic() < began + 1e-4:  # long enough to be told
            pass
        passed_ms = (time.monotonic() - began) * 1e3
        return timed.step("dns", True, ""), passed_ms

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        step, passed_ms = runner.run(busy())
    assert step.took_ms >= round(passed_ms, 3) > 0


HOURLY = "probe:up:3600000000"
"""The place of rounds of `up`."""


class Held:
    """An upstream whose answers wait for a word."""

    def __init__(self) -> None:
        self.over = asyncio.Event()

    async def __call__(self, _got: Received, _socket: Socket) -> bytes:
        await self.over.wait()
        return b"HTTP/1.1 204 X\r\n\r\n"


def one_of_all(gateway: Running, name: str, store: Store | None = None, *, due: bool = True) -> Probing:
    """A worker's part; if it is due, its turn comes with the next look."""
    shelf = Shelf(gateway.gateway.store if store is None else store)
    one = Probing(gateway.gateway, shelf, LocalStatuses(print), name, look_s=0.005, renew_s=0.01)
    if due:
        one._due["up"] = 3600 * SECOND_US, 0.0
    return one


async def test_a_round_is_begun_anew_by_who_has_seen_its_worker_begin(
    start: Start, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing_module, "LEASE_US", SECOND_US // 2)
    running = await start(policies(upstream.url, BEARER, ", interval: 1h"))
    held = upstream.script = Held()
    dying, sibling = one_of_all(running, "dying"), one_of_all(running, "sibling")
    successor = one_of_all(running, "successor", due=False)
    dying.start()
    await upstream.until(lambda: len(upstream.received) == 2)
    for one in (sibling, successor):  # one whose turn had come too, and one that has only begun
        one._look(1.0)
        await eventually(lambda one=one: not one._under_way)
        assert one._due["up"][1] < 60
    await dying.close()
    held.over.set()
    sibling.start()
    await upstream.until(lambda: len(upstream.received) == 4)
    await eventually(lambda: not sibling._under_way)
    await sibling.close()
    successor._look(1800.0)
    await eventually(lambda: not successor._under_way)
    assert len(upstream.received) == 4


async def test_a_round_is_begun_anew_by_who_began_before_it(
    start: Start, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And whose own turn comes at the end of the hour."""
    monkeypatch.setattr("random.random", lambda: 0.9)
    running = await start(policies(upstream.url, BEARER, ", interval: 1h"))
    held = upstream.script = Held()
    dying, other = one_of_all(running, "dying"), one_of_all(running, "other", due=False)

    async def look(now_s: float) -> float:
        """When its turn comes."""
        other._look(now_s)
        await eventually(lambda: not other._under_way)
        return other._due["up"][1]

    assert [await look(0.0), await look(10.0)] == [3240.0] * 2
    dying.start()
    await upstream.until(lambda: len(upstream.received) == 2)
    assert await look(19.0) == 3240.0
    assert await look(20.0) < 60

    async def over() -> bool:
        found = await Shelf(running.gateway.store).look(HOURLY)
        return found is not None and found.held_us < SECOND_US

    with monkeypatch.context() as soon:
        soon.setattr(probing_module, "LEASE_US", 1)
        await eventually(over)
        await dying.close()
    held.over.set()
    other.start()
    await upstream.until(lambda: len(upstream.received) == 4)
    await other.close()


class Missing(Shelf):
    """The store does not answer when it is told what to keep, so many times."""

    times = 2

    async def put(self, *what: Any) -> Found | None:
        self.times -= 1
        return await super().put(*what) if self.times < 0 else None


@pytest.mark.parametrize(("lease_us", "kept"), [(60 * SECOND_US, True), (0, False)])
async def test_that_all_are_tested_is_told_again_while_the_lease_holds(
    start: Start, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, lease_us: int, kept: bool
) -> None:
    running = await start(policies(upstream.url, BEARER, ", interval: 1h"))
    held = upstream.script = Held()
    one, shelf = one_of_all(running, "one"), Missing(running.gateway.store)
    one._leases, one._renew_s = shelf, 60.0
    one._look(1.0)
    await upstream.until(lambda: len(upstream.received) == 2)
    monkeypatch.setattr(probing_module, "LEASE_US", lease_us)
    held.over.set()
    await eventually(lambda: not one._under_way)
    found = await shelf.look(HOURLY)
    assert found is not None
    assert (found.version > 0, found.holder == "") == (kept, kept)


async def test_a_lease_is_renewed_as_long_as_the_round_lasts(
    start: Start, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = await start(policies(upstream.url, BEARER, ", interval: 1h"))
    held, shelf = Held(), Shelf(running.gateway.store)
    upstream.script = held
    one = one_of_all(running, "one")
    one._look(1.0)
    await upstream.until(lambda: len(upstream.received) == 2)
    monkeypatch.setattr(probing_module, "LEASE_US", 600 * SECOND_US)

    async def renewed() -> bool:
        found = await shelf.look(HOURLY)
        return found is not None and found.held_us > 15 * SECOND_US

    await eventually(renewed)
    held.over.set()
    await eventually(lambda: not one._under_way)
    found = await shelf.look(HOURLY)
    assert found is not None
    assert (found.holder, found.version > 0, found.left_us > 1800 * SECOND_US) == ("", True, True)


async def test_who_was_held_up_until_the_round_was_anothers_leaves_it_to_that_one(
    start: Start, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = await start(policies(upstream.url, BEARER, ", interval: 1h"))
    shelf, upstream.script = Shelf(running.gateway.store), Held()
    one = one_of_all(running, "one")
    one._renew_s = 60.0
    monkeypatch.setattr(probing_module, "LEASE_US", 1)
    one._look(1.0)
    await upstream.until(lambda: len(upstream.received) == 2)

    async def anothers() -> bool:
        found = await shelf.take(HOURLY, "another", 0, 600 * SECOND_US)
        return found is not None and found.mine

    await eventually(anothers)
    testing = asyncio.create_task(asyncio.Event().wait())
    one._renew_s = 0.0
    assert not await one._kept(HOURLY, "one:1", testing)
    assert testing.cancelled()
    await one.close()
    found = await shelf.look(HOURLY)
    assert found is not None
    assert (found.holder, found.version) == ("another", 0)


async def test_who_begins_waits_for_the_round_that_is_due_for_all(
    start: Start, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = await start(policies(upstream.url, BEARER, ", interval: 1h"))
    one, later = one_of_all(running, "one"), one_of_all(running, "later", due=False)
    one._look(0.0)
    await eventually(lambda: not one._under_way)
    monkeypatch.setattr("random.random", lambda: 0.0)
    later._look(0.0)
    await eventually(lambda: not later._under_way)
    assert later._due["up"][1] > 1800
    assert len(upstream.received) == 2


async def test_while_the_store_is_away_nothing_is_tested_and_it_is_asked_again_soon(
    start: Start, upstream: Upstream
) -> None:
    running = await start(policies(upstream.url, BEARER, ", interval: 1h"))
    one = one_of_all(running, "one", RedisStore("redis://127.0.0.1:1"))
    one._look(1.0)
    await eventually(lambda: not one._under_way)
    assert one._due["up"][1] < 60
    assert upstream.received == []


async def test_a_worker_that_shares_with_nobody_tests_alone(start: Start, upstream: Upstream) -> None:
    running = await start(policies(upstream.url, BEARER, ", interval: 1h"))
    one = one_of_all(running, "one", LocalStore(), due=False)
    one._look(1.0)
    await eventually(lambda: not one._under_way)
    one._look(3602.0)
    await eventually(lambda: not one._under_way)
    assert len(upstream.received) == 2
