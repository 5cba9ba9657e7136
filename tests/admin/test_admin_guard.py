"""Who is let in: no token means this host only, and no page of another site; a token means those who know it."""

import asyncio
import gzip
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from gateway.admin import bodies
from gateway.admin.access import TokenMissing, check_tokens, host_name
from gateway.admin.bodies import MAX_BODY_BYTES
from gateway.admin.bulkhead import MOST_WAITING, PLACES
from gateway.admin.denials import Denials
from gateway.admin.server import AdminServer
from gateway.admin.table import ENDPOINTS
from gateway.observe.log.logger import hear_events, hear_no_events
from gateway.policy.files import MAX_FILE_BYTES
from gateway.settings import Listen, Settings
from gateway.store.local.store import LocalStore
from tests.admin.conftest import Admin, FakeWorker, StartAdmin

TOKEN = "0123456789abcdef-T0ken"
READING = "only-to-look-0123456789"
Line = Mapping[str, Any]


@pytest.fixture
def heard() -> Iterator[list[Line]]:
    """Events as they come."""
    lines: list[Line] = []
    hear_events(lines.append)
    yield lines
    hear_no_events(lines.append)


def targets() -> Iterator[tuple[str, str]]:
    """Every route with every method it has and some it has not."""
    for endpoint in ENDPOINTS:
        target = endpoint.path.replace("{limit}/{key}", "tenant-10m/acme")
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
            yield method, target
    yield "GET", "/nothing"


async def test_without_the_token_every_route_and_method_is_401(start_admin: StartAdmin) -> None:
    admin = await start_admin(admin_token=TOKEN)
    for method, target in targets():
        status, _, fields = await admin.ask(target, method)
        assert (status, fields["WWW-Authenticate"]) == (401, 'Bearer realm="gateway admin"'), (method, target)


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer \u00e9"],
)
async def test_only_the_token_itself_opens(start_admin: StartAdmin, authorization: str) -> None:
    admin = await start_admin(admin_token=TOKEN)
    status, body, _ = await admin.ask("/livez", headers={"Authorization": authorization})
    wrong = authorization.startswith("Bearer")
    said = "The admin token is wrong." if wrong else "Send the admin token as `Authorization: Bearer"
    assert (status, body["detail"][: len(said)]) == (401, said)


async def test_wrong_tokens_are_on_record_but_not_one_by_one(start_admin: StartAdmin, heard: list[Line]) -> None:
    admin = await start_admin(admin_token=TOKEN)
    await admin.ask("/-/status")
    assert heard == [], "whoever shows none is a browser, or does not know better"
    for _ in range(20):
        await admin.ask("/-/limits/tenant-10m/acme?x=1", headers={"Authorization": "Bearer not-this-one-at-all"})
    (told,) = heard
    assert (told["event_name"], told["level"], told["count"]) == ("admin.denied", "warning", 1)
    assert (told["actor"], told["target"]) == ("127.0.0.1", "/-/limits/tenant-10m/acme")
    assert "not-this-one" not in str(told)


async def test_how_many_wrong_tokens_there_were_is_told_later(heard: list[Line]) -> None:
    denials, request = Denials(), make_mocked_request("GET", "/-/status")
    for _ in range(5):
        denials.tell(request)
    denials._report()
    denials._report()
    denials.tell(request)
    assert [one["count"] for one in heard] == [1, 4, 1]


async def test_with_the_token_any_host_name_will_do(start_admin: StartAdmin) -> None:
    admin = await start_admin(admin_token=TOKEN)
    fields = {"Authorization": f"bearer {TOKEN}", "Host": "gateway.internal"}
    assert (await admin.ask("/livez", headers=fields))[0] == 200
    _, body, _ = await admin.ask("/-/config", headers=fields)
    assert TOKEN not in str(body)


@pytest.mark.parametrize("host", ["localhost:9090", "127.0.0.1", "LOCALHOST", "[::1]:9090", "127.9.9.9:1"])
async def test_names_of_this_host(admin: Admin, host: str) -> None:
    assert (await admin.ask("/livez", headers={"Host": host}))[0] == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "[::2]", "[", "", "169.254.169.254", "a b"],
)
async def test_a_name_that_was_pointed_here_is_refused(admin: Admin, host: str) -> None:
    for method, target in (("GET", "/-/policy"), ("DELETE", "/-/limits/tenant-10m/acme")):
        status, body, _ = await admin.ask(target, method, headers={"Host": host})
        assert (status, body["code"]) == (421, "HOST_NOT_ALLOWED")


async def test_a_request_without_a_host_is_refused(admin: Admin) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", admin.port)
    writer.write(b"GET /livez HTTP/1.0\r\n\r\n")
    assert (await reader.readline()).split()[1] == b"421"
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 200),
        ({"Origin": "http://127.0.0.1:{port}"}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
    ],
)
async def test_pages_of_other_sites_change_nothing(admin: Admin, fields: dict[str, str], status: int) -> None:
    sent = {name: value.format(port=admin.port) for name, value in fields.items()}
    assert (await admin.ask("/-/limits/tenant-10m/acme", "DELETE", headers=sent))[0] == status


@pytest.mark.parametrize("path", sorted({endpoint.path for endpoint in ENDPOINTS}))
async def test_allow_has_the_declared_methods_and_no_other(admin: Admin, path: str) -> None:
    declared = {endpoint.method for endpoint in ENDPOINTS if endpoint.path == path}
    named = re.sub(r"\{.*?\}", "x", path)
    status, _, fields = await admin.ask(named, "OPTIONS")
    assert (status, set(fields["Allow"].split(", "))) == (405, declared | ({"HEAD"} if "GET" in declared else set()))


async def test_no_get_changes_anything_and_wrong_methods_say_which_are_right(admin: Admin) -> None:
    status, body, fields = await admin.ask("/-/limits/tenant-10m/acme", "POST")
    assert (status, body["code"], fields["Allow"]) == (405, "METHOD_NOT_ALLOWED", "DELETE, GET, HEAD")
    changing = {"start_over", "give", "take_back", "hold", "log_level", "drain", "resume"}
    found = {(endpoint.handler.__name__, endpoint.method) for endpoint in ENDPOINTS}
    assert changing <= {name for name, _ in found}
    assert not {name for name, method in found if method == "GET"} & changing


async def test_bodies_are_bounded(admin: Admin) -> None:
    status, body, _ = await admin.ask("/livez", "POST", data=b"x" * (MAX_BODY_BYTES + 1))
    assert (status, body["code"]) == (413, "CONTENT_TOO_LARGE")
    yaml = {"Content-Type": "application/yaml"}
    status, body, _ = await admin.ask(
        "/-/policy/check", "POST", data=io.BytesIO(b"#" * (MAX_FILE_BYTES + 1)), headers=yaml
    )
    assert (status, body["detail"]) == (413, "A body may have at most 4,194,304 bytes here.")


HALF = b"POST /-/explain HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"


async def test_bodies_that_do_not_end_keep_nobody_waiting(
    admin: Admin, heard: list[Line], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = [await asyncio.open_connection("127.0.0.1", admin.port) for _ in range(PLACES)]
    for _, writer in opened:
        writer.write(HALF)
    assert (await admin.ask("/-/policy"))[0] == 200
    for _, writer in opened:
        writer.close()
    monkeypatch.setattr(bodies, "BODY_S", 0.01)
    reader, writer = await asyncio.open_connection("127.0.0.1", admin.port)
    writer.write(HALF)
    assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
    writer.close()
    assert not [line for line in heard if line["event_name"] == "admin.failed"], "who leaves is no defect of ours"


async def test_compressed_bodies_are_refused(admin: Admin, heard: list[Line]) -> None:
    for body in (b"rubbish", gzip.compress(b'{"level": "debug", "ttl": "1s"}')):
        said = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        status, problem, _ = await admin.ask("/-/log-level", "PUT", data=body, headers=said)
        assert (status, problem["code"]) == (415, "PLAIN_BODY_REQUIRED")
    assert not heard


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1", "gateway.internal"])
def test_an_address_others_can_reach_needs_a_token(host: str) -> None:
    settings = Settings(admin=Listen(host, 9090))
    with pytest.raises(TokenMissing, match="needs an admin token"):
        check_tokens(settings)
    check_tokens(replace(settings, admin_token=TOKEN))


@pytest.mark.parametrize("tokens", [{"admin_token": "hunter2"}, {"admin_token": TOKEN, "admin_read_token": "hunter2"}])
async def test_a_weak_token_is_refused_wherever_it_listens(tokens: dict[str, str]) -> None:
    with pytest.raises(TokenMissing, match="shorter than 16") as refused:
        AdminServer(FakeWorker(Settings(**tokens), LocalStore()))  # type: ignore[arg-type]
    assert "hunter2" not in str(refused.value)


def test_the_tokens_are_not_in_the_text_of_the_settings() -> None:
    text = repr(Settings(admin_token=TOKEN, admin_read_token=READING))
    assert TOKEN not in text
    assert READING not in text


async def test_the_token_for_reading_opens_what_changes_nothing(start_admin: StartAdmin) -> None:
    admin = await start_admin(admin_token=TOKEN, admin_read_token=READING)
    by_it = {"Authorization": f"Bearer {READING}"}
    assert (await admin.ask("/metrics", headers=by_it))[0] == 200
    assert (await admin.ask("/-/status", headers=by_it))[0] == 200
    assert (await admin.ask("/-/explain", "POST", json={}, headers=by_it))[1]["code"] == "BAD_ORDER"
    _, body, _ = await admin.ask("/-/config", headers=by_it)
    assert READING not in str(body)
    assert TOKEN not in str(body)


async def test_the_token_for_reading_changes_nothing(start_admin: StartAdmin, heard: list[Line]) -> None:
    """Whatever an operation is: but for those that say that they only read."""
    admin = await start_admin(admin_token=TOKEN, admin_read_token=READING)
    changing = [
        (method, target)
        for method, target in targets()
        if method in ("POST", "PUT", "DELETE", "PATCH") and target != "/-/explain"
    ]
    assert ("POST", "/-/policy/check") in changing, "a candidate names files, and errors quote what is in them"
    for method, target in (*changing, ("POST", "/breakers/vendor")):
        fields = {"Authorization": f"Bearer {READING}"}
        if not target.startswith("/-/"):
            fields["Sec-Fetch-Site"] = "same-origin"
        status, body, _ = await admin.ask(target, method, headers=fields)
        assert (status, body["code"]) in ((403, "READ_ONLY"), (405, "METHOD_NOT_ALLOWED")), (method, target)
    assert heard == []
    fields = {"Authorization": f"Bearer {TOKEN}"}
    assert (await admin.ask("/-/limits/tenant-10m/acme", "DELETE", headers=fields))[0] == 200


@pytest.mark.parametrize(
    ("field", "name"),
    [("a.example:80", "a.example"), ("[::1]:80", "::1"), ("LocalHost.", "localhost"), ("[", ""), ("", ""), (":80", "")],
)
def test_the_name_in_a_host_field(field: str, name: str) -> None:
    assert host_name(field) == name


async def test_a_flood_waits_or_is_sent_away_and_probes_do_not_wait(admin: Admin) -> None:
    async def ask(path: str) -> int:
        return (await admin.ask(path))[0]

    flood = [asyncio.create_task(ask("/-/limits")) for _ in range(3 * (MOST_WAITING + PLACES))]
    await asyncio.wait(flood, return_when=asyncio.FIRST_COMPLETED)
    assert await ask("/livez") == 200
    assert not all(task.done() for task in flood), "the probe did not wait for them"
    statuses = Counter(await asyncio.gather(*flood))
    assert statuses.keys() == {200, 429}
    assert statuses[200] >= MOST_WAITING


async def test_a_request_that_fails_leaves_its_place(admin: Admin) -> None:
    for _ in range(3 * PLACES):
        assert (await admin.ask("/-/limits/no/such"))[0] == 404
