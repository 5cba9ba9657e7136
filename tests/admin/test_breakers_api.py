"""Circuit breakers over the admin listener: which there are, how they stand, holding one open or closed."""

from dataclasses import replace
from typing import Any

import orjson
import pytest

from gateway.core.ask import Ask
from gateway.core.guards import Breaker, Guard, Reason, Report, State
from gateway.core.keys import partition
from gateway.observe.log.logger import close_logging, configure_logging
from gateway.settings import Logging
from tests.admin.conftest import POLICIES, ROUTE, Admin, Countdown

S = 1_000_000
BREAKER = Breaker(
    "connection",
    ("tenant", "connection"),
    consecutive_failures=3,
    failure_ppm=500_000,
    open_us=30 * S,
    source="p.yaml:50",
)
SLOW = Breaker("slow", (), slow_ppm=250_000, slow_us=2 * S, source="p.yaml:60")
OWN = Breaker("own", ("connection",), shared=False, consecutive_failures=1)
PARTS = {"tenant": "acme", "connection": "conn/42"}
GUARD = Guard(BREAKER, partition("breaker:connection", BREAKER.key, PARTS), PARTS)
PATH = "/-/breakers/connection/acme/conn%2F42"
JSON = {"Content-Type": "application/json"}


@pytest.fixture(autouse=True)
def _breakers(admin: Admin) -> None:
    admin.worker.policies = replace(
        POLICIES,
        routes=(replace(ROUTE, breaker=BREAKER),),
        breakers={one.name: one for one in (BREAKER, SLOW, OWN)},
    )


async def order(admin: Admin, body: object, path: str = PATH) -> tuple[int, Any]:
    status, document, _ = await admin.ask(path, "POST", data=orjson.dumps(body), headers=JSON)
    return status, document


async def test_every_breaker_is_listed_with_its_numbers(admin: Admin) -> None:
    status, body, _ = await admin.ask("/-/breakers")
    assert status == 200
    connection, slow, own = body["breakers"]
    assert connection == {
        "name": "connection",
        "key": ["tenant", "connection"],
        "scope": "shared",
        "window_s": 60.0,
        "minimum_calls": 10,
        "open_for_s": 30.0,
        "max_open_for_s": 300.0,
        "half_open_calls": 1,
        "close_after": 1,
        "source": "p.yaml:50",
        "consecutive_failures": 3,
        "failure_rate": 0.5,
        "routes": ["erp"],
    }
    assert (slow["slow_rate"], slow["slow_s"], slow["key"]) == (0.25, 2.0, [])
    assert (own["scope"], own["routes"]) == ("local", [])


async def test_those_of_one_name_are_listed_however_many_others_there_are(admin: Admin) -> None:
    crowd = [Guard(BREAKER, partition("breaker:connection", ("tenant",), {"tenant": f"t{one}"})) for one in range(25)]
    slow = Guard(SLOW, partition("breaker:slow", (), {}))
    await admin.worker.store.report([Report(guard, 0, failed=3) for guard in crowd])
    await admin.worker.store.force(slow, State.OPEN, 60 * S)
    status, body, _ = await admin.ask("/-/breakers?breaker=slow")
    assert (status, [one["name"] for one in body["breakers"]]) == (200, ["slow"])
    assert ([one["breaker"] for one in body["not_closed"]], body["more"]) == (["slow"], False)
    _, body, _ = await admin.ask("/-/breakers")
    assert (len(body["not_closed"]), body["more"]) == (20, True)
    assert (await admin.ask("/-/breakers?breaker=none"))[1]["code"] == "NO_SUCH_BREAKER"


async def test_one_callers_breaker_is_shown_as_it_stands(admin: Admin) -> None:
    key = {"tenant": "acme", "connection": "conn/42"}
    assert (await admin.ask(PATH))[:2] == (200, {"key": key, "name": "connection", "state": "closed"})
    countdown = Countdown()
    await admin.worker.store.report([Report(GUARD, 0, failed=3)])
    status, body, _ = await admin.ask(PATH)
    assert countdown.fits(body.pop("next_probe_s"), 30)
    assert (status, body) == (
        200,
        {
            "key": key,
            "name": "connection",
            "state": "open",
            "reason": "consecutive_failures",
            "calls": 3,
            "failed": 3,
            "slow": 0,
        },
    )


async def test_held_open_then_closed_then_given_back(admin: Admin, capfd: pytest.CaptureFixture[str]) -> None:
    configure_logging(Logging(pretty=False), {})
    store, countdown = admin.worker.store, Countdown()
    status, body = await order(admin, {"state": "open", "ttl": "10m", "reason": " maintenance "})
    assert (status, body["before"]["state"], body["after"]["state"]) == (200, "closed", "open")
    assert countdown.fits(body["after"]["next_probe_s"], 600)
    assert not (await store.admit(Ask((), (GUARD,)), "")).admitted
    status, body = await order(admin, {"state": "closed", "ttl": "1h"})
    assert (body["before"]["state"], body["after"]["state"]) == ("open", "closed")
    assert (body["before"]["reason"], body["after"]["reason"]) == ("forced", "forced")
    for _ in range(3):
        await store.report([Report(GUARD, 2, failed=9)])
    assert (await store.admit(Ask((), (GUARD,)), "")).admitted  # whatever happens
    status, body = await order(admin, {"state": "auto"})
    assert (status, body["after"]["state"], body["after"]["reason"]) == (200, "closed", "given_back")
    assert [(guard, change.state, change.reason) for guard, change in admin.worker.changes] == [
        (GUARD, State.OPEN, Reason.FORCED),
        (GUARD, State.CLOSED, Reason.FORCED),
    ]
    close_logging()
    lines = [orjson.loads(line) for line in capfd.readouterr().out.splitlines() if line.startswith("{")]
    audited = [line for line in lines if line["event_name"] == "admin.mutation"]
    assert [(line["action"], line["target"], line["after"]["state"]) for line in audited] == [
        ("breaker.force", PATH, "open"),
        ("breaker.force", PATH, "closed"),
        ("breaker.force", PATH, "closed"),
    ]
    assert [line.get("reason") for line in audited] == ["maintenance", None, None]


@pytest.mark.parametrize("reason", ["", "  ", 7, None, "x" * 201])
async def test_a_reason_is_a_text_of_some_length(admin: Admin, reason: object) -> None:
    status, body = await order(admin, {"state": "open", "ttl": "10m", "reason": reason})
    assert (status, body["code"]) == (400, "BAD_ORDER")
    assert (await admin.ask(PATH))[1]["state"] == "closed"


async def test_one_for_everybody_needs_no_key(admin: Admin) -> None:
    for path in ("/-/breakers/slow", "/-/breakers/slow/"):
        status, body, _ = await admin.ask(path)
        assert (status, body) == (200, {"key": {}, "name": "slow", "state": "closed"})


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/-/breakers/none/acme", 404, "NO_SUCH_BREAKER"),
        ("/-/breakers/connection/acme", 400, "WRONG_KEY"),
        ("/-/breakers/connection/acme/", 400, "WRONG_KEY"),
        ("/-/breakers/slow/acme", 400, "WRONG_KEY"),
        ("/-/breakers/own/conn_42/x", 400, "WRONG_KEY"),
    ],
)
async def test_names_that_lead_nowhere(admin: Admin, path: str, status: int, code: str) -> None:
    for method in ("GET", "POST"):
        got, body, _ = await admin.ask(path, method, headers=JSON)
        assert (got, body["code"]) == (status, code)


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"state": "half_open", "ttl": "1m"},
        {"state": ["open"], "ttl": "1m"},
        {"state": "open"},
        {"state": "auto", "ttl": "1m"},
        {"state": "open", "ttl": "soon"},
        {"state": "open", "ttl": 60},
        {"state": "open", "ttl": "0s"},
        {"state": "open", "ttl": "31d"},
        {"state": "open", "ttl": "1m", "more": 1},
    ],
)
async def test_orders_that_make_no_sense(admin: Admin, body: object) -> None:
    status, document = await order(admin, body)
    assert (status, document["code"]) == (400, "BAD_ORDER")
    assert (await admin.ask(PATH))[1]["state"] == "closed"
    assert admin.worker.changes == []


async def test_each_workers_own_are_asked_and_told_one_by_one(admin: Admin) -> None:
    path = "/-/breakers/own/conn_42"
    status, body, _ = await admin.ask(path)
    about = {"key": {"connection": "conn_42"}, "name": "own", "scope": "local"}
    assert (status, body) == (200, {**about, "workers": [{"worker": 1, "state": "closed"}]})
    countdown = Countdown()
    status, body = await order(admin, {"state": "open", "ttl": "1m"}, path)
    (one,) = body["after"]["workers"]
    assert countdown.fits(one["next_probe_s"], 60)
    assert (status, one["state"], one["reason"]) == (200, "open", "forced")
    assert body["before"]["workers"] == [{"worker": 1, "state": "closed"}]
    assert [(guard.key, change.state) for guard, change in admin.worker.changes] == [
        ("breaker:own:{=conn_42}", State.OPEN)
    ]
    await order(admin, {"state": "auto"}, path)
    (one,) = (await admin.ask(path))[1]["workers"]
    assert (one["state"], one["reason"]) == ("open", "given_back"), "until a probe says otherwise"


async def test_a_page_cannot_send_orders(admin: Admin) -> None:
    """A form or a `no-cors` request of another site has no JSON content type; with one the browser asks first."""
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        status, body, _ = await admin.ask(
            PATH, "POST", data=b'{"state": "open", "ttl": "1m"}', headers={"Content-Type": kind}
        )
        assert (status, body["code"]) == (415, "JSON_REQUIRED")
    status, body, _ = await admin.ask(PATH, "POST", data=b"{", headers=JSON)
    assert body["code"] == "BAD_ORDER"


async def test_without_the_store_nothing_is_shown_or_ordered(admin: Admin) -> None:
    store: Any = admin.worker.store
    await store.close()
    assert (await admin.ask(PATH))[1]["code"] == "STORE_UNAVAILABLE"
    assert (await order(admin, {"state": "auto"}))[1]["code"] == "STORE_UNAVAILABLE"
