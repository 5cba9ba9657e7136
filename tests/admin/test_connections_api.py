"""How connections are doing, over the admin listener."""

from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest

from gateway.core.connections.counts import Row
from gateway.core.connections.names import name_of
from gateway.core.connections.state import ConnectionState, Failure, Named, Report
from gateway.core.guards import Breaker, Guard, Pausing, State
from gateway.core.http.signals import Honor
from gateway.core.keys import partition
from gateway.core.upstream import Learning
from gateway.store.shared.status import RedisStatuses
from tests.admin.conftest import BUCKET, POLICIES, UPSTREAM, Admin, Countdown

ACME = Named("acme", "conn_42")
SECOND_US = 1_000_000
START_US = 1_700_000_000 * SECOND_US

OK = Report((Row("vendor.read", "vendor", ok=40),), answer_us=0)
DENIED = Report(
    (Row("product.batch", "product", ok=1, failed=9), Row("", "", rejected=2)),
    answer_us=0,
    denied=ConnectionState.AUTH_REQUIRED,
    denied_us=0,
    failure=Failure(0, "auth_error", 401, "r-1", "product.batch", "product"),
)
SHUT = Report(shut=(("b", 0),))


async def reported(admin: Admin, *about: tuple[Named, Report], now_us: int = START_US) -> None:
    """As workers report; the admin listener reads by the server's own clock."""
    statuses = admin.worker.statuses
    assert isinstance(statuses, RedisStatuses)
    statuses.now_us = now_us
    await statuses.report(about)
    statuses.now_us = 0


async def test_the_document_of_a_connection(admin: Admin) -> None:
    countdown = Countdown()
    await reported(admin, (ACME, OK))
    await admin.worker.statuses.report([(ACME, DENIED)])
    await admin.spend(BUCKET, partition(BUCKET.name, BUCKET.key, {"tenant": "acme", "connection": "conn_42"}), 13)
    status, body, _ = await admin.ask("/-/connections/conn_42")
    assert status == 200
    assert body.pop("since") == body.pop("last_success_at") > "2023-11-14T22:13:20.000Z"
    assert body["last_failure"].pop("at") > "2023-11-14T22:13:20.000Z"
    assert countdown.fits(body["limits"]["connection-1m"].pop("reset_s"), 39)
    assert body == {
        "connection": "conn_42",
        "tenant": "acme",
        "state": "auth_required",
        "last_failure": {
            "class": "auth_error",
            "status": 401,
            "operation": "product.batch",
            "entity": "product",
            "request_id": "r-1",
        },
        "counted_s": 600,
        "operations": {
            "(none)": {"ok": 0, "rejected": 2, "failed": 0},
            "product.batch": {"ok": 1, "rejected": 0, "failed": 9},
        },
        "entities": {
            "(none)": {"ok": 0, "rejected": 2, "failed": 0},
            "product": {"ok": 1, "rejected": 0, "failed": 9},
        },
        "limits": {"connection-1m": {"limit": 20, "remaining": 7}},
        "breakers": [],
        "paused_s": 0,
        "upstreams": {},
        "store": "redis",
    }


async def test_what_is_unknown_is_null(admin: Admin) -> None:
    await reported(admin, (Named("", "conn_42"), SHUT))
    _, body, _ = await admin.ask("/-/connections/conn_42")
    assert (body["tenant"], body["last_success_at"], body["last_failure"]) == (None, None, None)
    assert (body["since"], body["operations"]) == ("2023-11-14T22:13:20.000Z", {})


async def test_its_breaker_and_its_pause(admin: Admin) -> None:
    breaker = Breaker("connection", ("connection",), consecutive_failures=2, open_us=30 * SECOND_US)
    others = Breaker("tenant", ("tenant",)), Breaker("own", ("connection",), shared=False)
    learning = Learning((Honor.RETRY_AFTER,), ("connection",), 900 * SECOND_US)
    admin.worker.policies = replace(
        POLICIES,
        breakers={one.name: one for one in (breaker, *others)},
        upstreams={"erp-api": replace(UPSTREAM, learning=learning)},
    )
    await reported(admin, (ACME, OK))
    _, body, _ = await admin.ask("/-/connections/conn_42")
    assert (body["breakers"], body["paused_s"]) == ([{"name": "connection", "state": "closed"}], 0)
    parts = {"connection": "conn_42"}
    store, countdown = admin.worker.store, Countdown()
    await store.force(
        Guard(breaker, partition("breaker:connection", ("connection",), parts)), State.OPEN, 60 * SECOND_US
    )
    erp = Guard(Pausing("erp-api", 900 * SECOND_US), partition("pause:erp-api", ("connection",), parts))
    await store.pause(erp, 41 * SECOND_US)
    _, body, _ = await admin.ask("/-/connections/conn_42")
    (shown,) = body["breakers"]
    assert countdown.fits(shown.pop("next_probe_s"), 60)
    assert shown == {"name": "connection", "state": "open", "reason": "forced", "calls": 0, "failed": 0, "slow": 0}
    assert countdown.fits(body["paused_s"], 41)
    assert body["upstreams"] == {}
    await store.pause(erp, 600 * SECOND_US, left=12)
    _, body, _ = await admin.ask("/-/connections/conn_42")
    assert countdown.fits(body["upstreams"]["erp-api"].pop("reset_s"), 600)
    assert body["upstreams"] == {"erp-api": {"remaining": 12}}


async def test_the_tenant_tells_connections_of_one_name_apart(admin: Admin) -> None:
    await reported(admin, (ACME, OK), (Named("globex", "conn_42"), SHUT))
    status, body, _ = await admin.ask("/-/connections/conn_42")
    assert (status, body["code"]) == (409, "SEVERAL_CONNECTIONS")
    assert "'acme', 'globex'" in body["detail"]
    for tenant, state in (("acme", "online"), ("globex", "offline")):
        assert (await admin.ask(f"/-/connections/conn_42?tenant={tenant}"))[1]["state"] == state


@pytest.mark.parametrize("name", ["a/b", "a/test", "ein Gerät", "%2F", "\x1b[2J", "x" * 300, "a:b"])
async def test_whatever_its_name_a_connection_is_found_by_it(admin: Admin, name: str) -> None:
    await reported(admin, (name_of("acme", name), OK))
    status, body, _ = await admin.ask(f"/-/connections/{quote(name, safe='')}")
    assert (status, body["state"]) == (200, "online")
    (listed,) = (await admin.ask("/-/connections"))[1]["connections"]
    assert listed["connection"] == body["connection"]
    again = await admin.ask(f"/-/connections/{quote(listed['connection'], safe='')}")
    assert again[0] == 200  # what the list says leads to the document


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("conn_4", "'conn_4' in"),
        ("conn_42?tenant=globex", "'conn_42' of tenant 'globex' in"),
        ("conn_42?tenant=", "'conn_42' without a tenant in"),
        ("%FF", "in"),
    ],
)
async def test_an_unknown_connection_is_404(admin: Admin, path: str, told: str) -> None:
    await reported(admin, (ACME, OK))
    status, body, _ = await admin.ask(f"/-/connections/{path}")
    assert (status, body["code"]) == (404, "NO_SUCH_CONNECTION")
    assert told in body["detail"]


async def test_paths_below_a_connection_are_none(admin: Admin) -> None:
    await reported(admin, (ACME, OK))
    assert (await admin.ask("/-/connections/conn_42/status"))[1]["code"] == "NOT_FOUND"
    assert (await admin.ask("/-/connections/conn_42", "POST"))[1]["code"] == "METHOD_NOT_ALLOWED"


# The list -----------------------------------------------------------------------------------------


async def names(admin: Admin, query: str = "") -> list[str]:
    status, body, _ = await admin.ask(f"/-/connections{query}")
    assert status == 200, body
    return [one["connection"] for one in body["connections"]]


async def test_the_list_is_worst_first_and_can_be_filtered_by_state(admin: Admin) -> None:
    about = {"fine": OK, "locked": DENIED, "gone": SHUT}
    await reported(admin, *((Named("acme", name), report) for name, report in about.items()))
    assert await names(admin) == ["gone", "locked", "fine"]
    assert await names(admin, "?state=!online") == ["gone", "locked"]
    assert await names(admin, "?state=%21online") == ["gone", "locked"]
    assert await names(admin, "?state=offline,degraded") == ["gone"]
    assert await names(admin, "?state=rate_limited") == []
    (gone,) = (await admin.ask("/-/connections?state=offline"))[1]["connections"]
    assert gone == {
        "connection": "gone",
        "tenant": "acme",
        "state": "offline",
        "since": "2023-11-14T22:13:20.000Z",
        "last_success_at": None,
        "last_failure": None,
    }


async def test_the_list_comes_in_pages_that_lose_and_repeat_nothing(admin: Admin) -> None:
    await reported(admin, *((Named("acme", f"c{number:02}"), SHUT if number % 2 else OK) for number in range(25)))
    seen: list[str] = []
    target, pages = "/-/connections?limit=10", 0
    while target:
        _, body, _ = await admin.ask(target)
        seen += [one["connection"] for one in body["connections"]]
        pages += 1
        target = f"/-/connections?limit=10&cursor={body['next']}" if "next" in body else ""
    assert pages == 3
    assert seen == [f"c{number:02}" for number in [*range(1, 25, 2), *range(0, 25, 2)]]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("state=bad", "UNKNOWN_STATE"),
        ("state=", "UNKNOWN_STATE"),
        ("limit=0", "BAD_PAGE"),
        ("limit=1001", "BAD_PAGE"),
        ("limit=-1", "BAD_PAGE"),
        ("limit=%C2%B2", "BAD_PAGE"),
        ("cursor=%20", "BAD_PAGE"),
        ("cursor=_w", "BAD_PAGE"),
        ("cursor=abcde", "BAD_PAGE"),
    ],
)
async def test_questions_that_make_no_sense(admin: Admin, query: str, code: str) -> None:
    status, body, _ = await admin.ask(f"/-/connections?{query}")
    assert (status, body["code"]) == (400, code)


async def test_without_the_store_there_is_no_answer(admin: Admin) -> None:
    await reported(admin, (ACME, OK))
    store: Any = admin.worker.store
    await store.close()
    for path in ("/-/connections", "/-/connections/conn_42"):
        status, body, fields = await admin.ask(path)
        assert (status, body["code"], fields["Retry-After"]) == (503, "STORE_UNAVAILABLE", "1")
