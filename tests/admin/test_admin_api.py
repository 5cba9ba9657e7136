"""What the admin listener answers."""

from dataclasses import replace
from typing import Any

import orjson
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from gateway.admin.problems import unavailable
from gateway.cli.policies.explanation import lines
from gateway.core.keys import partition_key
from gateway.core.limits import Mode, Override, Posture
from gateway.observe.log.logger import close_logging, configure_logging, envelope
from gateway.observe.metrics.instruments import INSTRUMENTS
from gateway.settings import Logging
from gateway.store import StoreDown
from gateway.store.redis import RedisStore
from tests.admin.conftest import BUCKET, EVERYBODY, GENEROUS, POLICIES, TRIAL, WINDOW, Admin

HEALTH = ["/readyz", "/healthz", "/-/health"]


def written(capfd: pytest.CaptureFixture[str]) -> str:
    """All that was logged, once the writing thread is done: `capfd` loses what is written while it reads."""
    close_logging()
    return capfd.readouterr().out


def key(limit: Any, **parts: str | None) -> str:
    return partition_key(limit, parts)


async def test_alive_and_ready(admin: Admin) -> None:
    assert (await admin.ask("/livez"))[:2] == (200, {"status": "alive"})
    for path in HEALTH:
        assert (await admin.ask(path))[:2] == (200, {"status": "ready"})


@pytest.mark.parametrize("path", HEALTH)
async def test_what_is_not_ready_is_said(admin: Admin, path: str) -> None:
    admin.worker.failing = {"store": "down"}
    status, body, _ = await admin.ask(path)
    assert (status, body) == (
        503,
        {"status": "not ready", "checks": [{"name": "store", "ok": False, "detail": "down"}]},
    )


@pytest.mark.parametrize("path", HEALTH)
async def test_a_draining_worker_is_alive_but_not_ready(admin: Admin, path: str) -> None:
    admin.worker.draining = True
    assert (await admin.ask(path))[:2] == (503, {"status": "draining"})
    assert (await admin.ask("/livez"))[0] == 200


async def test_all_checks_on_request(admin: Admin) -> None:
    admin.worker.failing = {"store": "down"}
    status, body, _ = await admin.ask("/readyz?verbose")
    assert status == 503
    assert [(check["name"], check["ok"]) for check in body["checks"]] == [("policies", True), ("store", False)]
    assert (body["worker"], body["policy_version"]) == (1, "0123456789ab")


async def test_metrics_in_both_formats(admin: Admin) -> None:
    status, text, fields = await admin.ask("/metrics")
    assert (status, fields["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert "gateway_build_info{" in text
    _, text, fields = await admin.ask("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert fields["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    names = {family.name for family in text_string_to_metric_families(text)}
    assert {name.removesuffix("_total") for name in INSTRUMENTS} <= names


async def test_the_loaded_set_is_shown_with_where_each_limit_stands(admin: Admin) -> None:
    status, body, _ = await admin.ask("/-/policy")
    assert status == 200
    assert (body["version"], body["loaded_at"]) == ("0123456789ab", "2026-11-21T05:30:00Z")
    assert body["files"] == ["p.yaml"]
    window, bucket, everybody = body["limits"]
    assert window["source"] == "p.yaml:7"
    assert (window["limit"], window["window_s"], window["key"]) == (500, 600.0, ["tenant"])
    assert window["overrides"] == [
        {"match": {"tenant": "bigcorp"}, "limit": 5_000, "mode": "enforce", "source": "p.yaml:9"}
    ]
    assert (window["shadow"]["name"], window["shadow"]["limit"]) == ("tenant-trial", 10)
    assert window["routes"] == ["erp"]
    assert (bucket["rate"], bucket["per_s"], everybody["routes"]) == (1, 3.0, [])
    assert body["routes"][0] == {
        "name": "erp",
        "upstream": "erp-api",
        "limits": ["tenant-10m", "connection-1m"],
        "authenticate": [],
        "operations": [],
        "source": "p.yaml:40",
    }
    assert body["upstreams"] == [{"name": "erp-api", "url": "https://erp.example/v2", "source": "p.yaml:30"}]
    assert (await admin.ask("/-/limits"))[1] == {"limits": body["limits"]}


async def test_the_settings_in_force_without_secrets(admin: Admin) -> None:
    status, body, _ = await admin.ask("/-/config")
    assert status == 200
    settings = body["settings"]
    assert settings["store.url"]["value"] == "redis://***@127.0.0.1:1"
    assert settings["store.url"]["origin"] != "default"
    assert settings["drain.grace"].keys() == {"value", "origin"}
    assert "s3cret" not in orjson.dumps(body).decode()


async def test_a_counter_is_read_without_being_spent(admin: Admin) -> None:
    await admin.spend(WINDOW, key(WINDOW, tenant="acme"), 42)
    first = await admin.ask("/-/limits/tenant-10m/acme")
    second = await admin.ask("/-/limits/tenant-10m/acme")
    for status, body, _ in (first, second):
        assert status == 200
        reset_s = body.pop("reset_s")
        assert 0 < reset_s <= 600
        assert body == {
            "name": "tenant-10m",
            "key": {"tenant": "acme"},
            "limit": 500,
            "remaining": 458,
            "used": 42,
            "retry_after_s": 0,
            "algorithm": "rolling_window",
            "mode": "enforce",
            "partition": "tenant-10m:{=acme}",
            "store": "redis",
            "shadow": {
                "name": "tenant-trial",
                "limit": 10,
                "remaining": 10,
                "used": 0,
                "reset_s": 0,
                "retry_after_s": 0,
                "algorithm": "fixed_window",
                "mode": "enforce",
                "partition": "tenant-trial:{=acme}",
            },
        }


async def test_a_counter_that_is_used_up_says_when_to_come_back(admin: Admin, store: RedisStore) -> None:
    store.now_us = 1_000_000_000_000_000  # and so it stays: every three seconds a unit comes back
    await admin.spend(BUCKET, key(BUCKET, tenant="acme", connection="conn_42"), 20)
    _, body, _ = await admin.ask("/-/limits/connection-1m/acme/conn_42")
    assert (body["remaining"], body["used"]) == (0, 20)
    assert body["key"] == {"tenant": "acme", "connection": "conn_42"}
    assert body["retry_after_s"] == 3
    assert (await admin.ask("/-/limits/connection-1m/acme/conn_43"))[1]["remaining"] == 20


async def test_a_caller_with_numbers_of_its_own(admin: Admin) -> None:
    assert (await admin.ask("/-/limits/tenant-10m/bigcorp"))[1]["limit"] == 5_000
    assert (await admin.ask("/-/limits/tenant-10m/bigcorp2"))[1]["limit"] == 500


@pytest.mark.parametrize(
    ("segment", "value"),
    [
        ("a%2Fb", "a/b"),
        ("a%20b%3F", "a b?"),
        ("%7E", "~"),
        ("caf%C3%A9", "café"),
        ("%0a", "\n"),
        ("a+b", "a+b"),
        ("%252F", "%2F"),
        (".", "."),
        ("%ff", "\udcff"),
    ],
)
async def test_key_parts_are_decoded_one_by_one(admin: Admin, segment: str, value: str) -> None:
    await admin.spend(WINDOW, key(WINDOW, tenant=value), 5)
    status, body, _ = await admin.ask(f"/-/limits/tenant-10m/{segment}")
    assert (status, body["used"]) == (200, 5)
    assert body["key"] == {"tenant": value if value != "\udcff" else "\\xff"}


async def test_the_anonymous_caller_is_nobody_who_calls_itself_so(admin: Admin) -> None:
    await admin.spend(WINDOW, key(WINDOW, tenant=None), 7)
    _, anonymous, _ = await admin.ask("/-/limits/tenant-10m/~")
    _, named, _ = await admin.ask("/-/limits/tenant-10m/%7E")
    assert (anonymous["used"], anonymous["key"]) == (7, {"tenant": None})
    assert (named["used"], named["key"]) == (0, {"tenant": "~"})


@pytest.mark.parametrize("target", ["/-/limits/everybody/", "/-/limits/everybody"])
async def test_a_limit_without_a_key(admin: Admin, target: str) -> None:
    await admin.spend(EVERYBODY, key(EVERYBODY), 2)
    status, body, _ = await admin.ask(target)
    assert (status, body["remaining"], body["key"]) == (200, 1, {})


@pytest.mark.parametrize("target", ["/healthz?x=1", "/-/health?x=1", "/readyz?exclude=store", "/metrics?name=x"])
async def test_probes_and_scrapers_may_send_parameters_of_their_own(admin: Admin, target: str) -> None:
    async with admin.client.get(f"http://127.0.0.1:{admin.port}{target}") as answer:
        assert answer.status == 200


async def test_a_parameter_that_no_operation_has_is_not_passed_over(admin: Admin) -> None:
    status, problem, _ = await admin.ask("/-/limits/tenant-10m/acme?reson=a%20test", "DELETE")
    assert (status, problem["code"]) == (400, "BAD_QUESTION")
    status, problem, _ = await admin.ask(f"/-/config?{'x' * 500}=1")
    assert (status, len(problem["detail"]) < 120) == (400, True)


@pytest.mark.parametrize(
    ("order", "told"),
    [
        (("DELETE", "/-/limits/tenant-10m/acme"), "No body is read here: say it behind the `?` (reason)."),
        (("DELETE", "/-/cache"), "No body is read here: say it behind the `?` (route, tenant, prefix)."),
        (("POST", "/-/webhooks/crm/test"), "No body is read here."),
    ],
)
async def test_a_body_that_no_operation_reads_is_not_passed_over(
    admin: Admin, order: tuple[str, str], told: str
) -> None:
    method, path = order
    status, problem, _ = await admin.ask(path, method, json={"tenant": "acme"})
    assert (status, problem["code"], problem["detail"]) == (400, "BAD_ORDER", told)
    assert (await admin.ask(path, method, json={}))[1].get("code") != "BAD_ORDER", "nothing is said by that"


async def test_a_reset_starts_over_and_is_on_record(admin: Admin, capfd: pytest.CaptureFixture[str]) -> None:
    configure_logging(Logging(pretty=False), envelope(admin.worker.settings, worker=1))
    await admin.spend(WINDOW, key(WINDOW, tenant="acme"), 42)
    await admin.spend(TRIAL, key(TRIAL, tenant="acme"), 3)
    await admin.spend(WINDOW, key(WINDOW, tenant="other"), 1)
    status, body, _ = await admin.ask("/-/limits/tenant-10m/acme", "DELETE")
    assert (status, body["reset"]) == (200, True)
    assert (body["before"]["used"], body["after"]["used"]) == (42, 0)
    assert (body["before"]["shadow"]["used"], body["after"]["shadow"]["used"]) == (3, 0)
    assert (await admin.ask("/-/limits/tenant-10m/other"))[1]["used"] == 1
    assert (await admin.ask("/-/limits/tenant-10m/acme?reason=a%20test", "DELETE"))[1]["reset"] is False
    assert (await admin.ask("/-/limits/tenant-10m/acme?reason=", "DELETE"))[0] == 400
    text = written(capfd)
    first = orjson.loads(text.splitlines()[0])
    assert (first["event_name"], first["level"]) == ("admin.mutation", "warning")
    assert (first["actor"], first["let_in_by"], first["action"], first["target"]) == (
        "127.0.0.1",
        "address",
        "limit.reset",
        "/-/limits/tenant-10m/acme",
    )
    assert (first["before"]["used"], first["after"]["used"]) == (42, 0)
    assert [orjson.loads(line).get("reason") for line in text.splitlines()] == [None, "a test"]


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        ("/-/limits/no-such/acme", 404, "NO_SUCH_LIMIT"),
        ("/-/limits/%ff%0a/acme", 404, "NO_SUCH_LIMIT"),
        ("/-/limits/tenant-10m", 400, "WRONG_KEY"),
        ("/-/limits/tenant-10m/", 400, "WRONG_KEY"),
        ("/-/limits/tenant-10m/a/b", 400, "WRONG_KEY"),
        ("/-/limits/connection-1m/acme", 400, "WRONG_KEY"),
        ("/-/limits/connection-1m//x", 400, "WRONG_KEY"),
        ("/-/limits/everybody/x", 400, "WRONG_KEY"),
        ("/nothing", 404, "NOT_FOUND"),
    ],
)
async def test_questions_that_make_no_sense(admin: Admin, target: str, status: int, code: str) -> None:
    given, body, fields = await admin.ask(target)
    assert (given, body["code"], body["status"]) == (status, code, status)
    assert fields["Content-Type"] == "application/problem+json"
    assert body["detail"]


async def test_a_shadow_is_asked_for_by_the_name_of_its_limit(admin: Admin) -> None:
    _, body, _ = await admin.ask("/-/limits/tenant-10m.shadow/acme")
    assert body["detail"] == "There is no limit 'tenant-10m.shadow'. It is the shadow of tenant-10m, and shown with it."
    _, body, _ = await admin.ask("/-/limits/connection-1m.shadow/acme")
    assert body["detail"] == "There is no limit 'connection-1m.shadow'."


async def test_too_many_values_are_counted(admin: Admin) -> None:
    _, body, _ = await admin.ask("/-/limits/tenant-10m/a/b")
    assert body["detail"] == "Limit tenant-10m counts by tenant: give its value, not 2 values."


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_store_that_is_down(admin: Admin, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    await admin.worker.store.close()
    status, body, fields = await admin.ask("/-/limits/tenant-10m/acme", method)
    assert (status, body["code"], fields["Retry-After"]) == (503, "STORE_UNAVAILABLE", "1")


@pytest.mark.parametrize(
    ("down", "said"),
    [
        (StoreDown("timeout", "no answer within 20 ms"), "The store does not answer (timeout)."),
        (StoreDown("other"), "The store does not answer (other)."),
        (
            StoreDown("other", "NOAUTH Authentication required."),
            "The store cannot do it: NOAUTH Authentication required.",
        ),
        (StoreDown("script", "NOPERM no right"), "The store cannot do it: NOPERM no right."),
    ],
)
def test_what_a_store_says_that_does_not_do_it_is_passed_on(down: StoreDown, said: str) -> None:
    assert unavailable(down).detail == said


async def test_a_limit_for_everybody_has_no_callers(admin: Admin) -> None:
    status, body, _ = await admin.ask("/-/limits/everybody/acme")
    assert (status, body["detail"]) == (400, "Limit everybody counts everybody together: give no key.")


async def test_a_call_is_explained_also_while_the_store_is_down(admin: Admin) -> None:
    await admin.worker.store.close()
    for limit, outcome in (
        (EVERYBODY, "decided without the store, which is away (connect): everybody local"),
        (
            replace(EVERYBODY, on_store_error=Posture.DENY),
            "refused with 503: the store is away (connect), and everybody says deny",
        ),
    ):
        route = replace(POLICIES.routes[0], limits=(limit,))
        admin.worker.policies = replace(POLICIES, routes=(route,), limits={limit.name: limit})
        status, body, _ = await admin.ask("/-/explain", "POST", json={"method": "GET", "path": "/erp/items"})
        assert (status, body["route"]["name"], body["store"]["up"]) == (200, "erp", False)
        assert "decision" not in body
        assert f"outcome     {outcome}" in lines(body)


async def test_a_call_comes_from_an_address_or_nobody_says_where(admin: Admin) -> None:
    order = {"method": "GET", "path": "/erp/items", "client_ip": "nope"}
    status, body, _ = await admin.ask("/-/explain", "POST", json=order)
    assert (status, body["code"], body["detail"]) == (400, "BAD_ORDER", "'nope' is not an IP address.")


async def test_an_error_of_ours_is_a_problem_and_an_event(
    admin: Admin, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    configure_logging(Logging(pretty=False), envelope(admin.worker.settings, worker=1))

    def broken() -> list[Any]:
        raise RuntimeError("redis://u:s3cret@host is odd")

    monkeypatch.setattr(admin.worker, "checks", broken)
    status, body, _ = await admin.ask("/readyz")
    assert (status, body["code"]) == (500, "INTERNAL_ERROR")
    assert "odd" not in str(body)
    text = written(capfd)
    assert orjson.loads(text)["event_name"] == "admin.failed"
    assert "s3cret" not in text


async def test_head_answers_like_get(admin: Admin) -> None:
    status, body, fields = await admin.ask("/livez", "HEAD")
    assert (status, body) == (200, None)
    assert fields["Content-Type"].startswith("application/json")


async def test_answers_say_little_about_the_server_and_are_not_kept(admin: Admin) -> None:
    for target in ("/livez", "/nothing"):
        _, _, fields = await admin.ask(target)
        assert (fields["Server"], fields["Cache-Control"]) == ("gateway", "no-store")
        assert fields["X-Content-Type-Options"] == "nosniff"


WANTED = {"limit": 9, "ttl": "10m", "reason": "a reason"}


async def test_an_override_is_told_with_its_reason(admin: Admin) -> None:
    path = "/-/limits/connection-1m/acme/a%2Fb"
    assert (await admin.ask(f"{path}/override"))[1]["code"] == "NO_OVERRIDE"
    status, body, _ = await admin.ask(f"{path}/override", "PUT", json=WANTED)
    assert (status, body["before"]["limit"], body["after"]["limit"]) == (200, 20, 9)
    _, given, _ = await admin.ask(f"{path}/override")
    assert 590 <= given.pop("ends_in_s") <= 600
    assert given == {"limit": 9, "instead_of": 20, "reason": "a reason"}
    assert (await admin.ask("/-/limits/connection-1m/acme/a"))[1]["limit"] == 20
    assert (await admin.ask(f"{path}/override", "DELETE"))[1]["after"]["limit"] == 20


async def test_a_limit_of_everybody_can_be_overridden(admin: Admin) -> None:
    assert (await admin.ask("/-/limits/everybody/override", "PUT", json=WANTED))[1]["after"]["limit"] == 9
    assert (await admin.ask("/-/limits/everybody"))[1]["override"]["limit"] == 9


async def test_who_has_the_limit_off_is_given_no_number(admin: Admin) -> None:
    off = Override((("tenant", "checker"),), replace(GENEROUS, mode=Mode.OFF, source="p.yaml:10"))
    admin.worker.policies = replace(POLICIES, limits={WINDOW.name: replace(WINDOW, overrides=(off,), shadow=None)})
    path = "/-/limits/tenant-10m/checker/override"
    status, body, _ = await admin.ask(path, "PUT", json=WANTED)
    assert (status, body["code"]) == (409, "LIMIT_OFF")
    assert body["detail"] == "tenant-10m is off for this caller (p.yaml:10): no number counts."
    assert (await admin.ask("/-/overrides"))[1]["overrides"] == []
    assert (await admin.ask(path, "DELETE"))[0] == 200, "one from before it was off can be taken back"


async def test_overrides_are_listed(admin: Admin) -> None:
    await admin.ask("/-/limits/tenant-10m/acme/override", "PUT", json=WANTED)
    await admin.ask("/-/limits/tenant-10m/zeta/override", "PUT", json=WANTED)
    await admin.ask("/-/limits/tenant-10m/zeta/override", "DELETE")
    status, body, _ = await admin.ask("/-/overrides")
    [one] = body["overrides"]
    assert (status, body["more"]) == (200, 0)
    assert (one["name"], one["key"], one["limit"]) == ("tenant-10m", "acme", WANTED["limit"])
    assert one["reason"] == WANTED["reason"]
    assert 0 < one["ends_in_s"] <= 30 * 24 * 3600


async def test_who_is_called_override(admin: Admin) -> None:
    await admin.ask("/-/limits/tenant-10m/override/override", "PUT", json=WANTED)
    status, body, _ = await admin.ask("/-/limits/tenant-10m/override")
    assert (status, body["key"], body["limit"]) == (200, {"tenant": "override"}, 9)
    assert (await admin.ask("/-/limits/tenant-10m/override", "DELETE"))[1]["after"]["limit"] == 9
    assert (await admin.ask("/-/limits/tenant-10m/override/override", "DELETE"))[1]["after"]["limit"] == 500


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"limit": 0},
        {"limit": True},
        {"limit": 1.5},
        {"limit": 2_000_000},
        {"ttl": 5},
        {"ttl": "0s"},
        {"ttl": "31d"},
        {"reason": " "},
        {"reason": "x" * 201},
        {"more": 1},
    ],
    ids=str,
)
async def test_orders_that_are_none(admin: Admin, wrong: dict[str, Any]) -> None:
    order = {**WANTED, **wrong} if wrong else {"limit": 9}
    status, body, _ = await admin.ask("/-/limits/tenant-10m/acme/override", "PUT", json=order)
    assert (status, body["code"]) == (400, "BAD_ORDER")
    assert (await admin.ask("/-/limits/tenant-10m/acme"))[1]["limit"] == 500


@pytest.mark.parametrize(
    ("ttl", "said"),
    [
        ("31d", "`ttl` must be more than 0 and at most 30d."),
        ("801d", "`ttl` must be more than 0 and at most 30d."),
        ("0s", "`ttl` must be more than 0 and at most 30d."),
        ("1w", "`ttl`: '1w' is not a duration; write 7d."),
        (5, "`ttl`: expected a duration like 30s or 10m, got the number 5."),
    ],
)
async def test_a_time_that_is_none_is_told_with_the_bounds_that_it_has(admin: Admin, ttl: object, said: str) -> None:
    order = {**WANTED, "ttl": ttl}
    assert (await admin.ask("/-/limits/tenant-10m/acme/override", "PUT", json=order))[1]["detail"] == said


async def test_a_candidate_is_checked_and_compared(admin: Admin) -> None:
    async def check(text: str) -> Any:
        options = {"data": text, "headers": {"Content-Type": "application/yaml"}}
        status, body, _ = await admin.ask("/-/policy/check", "POST", **options)
        assert status == 200
        return body

    good = await check(
        "version: 1\nupstreams:\n  erp-api: {url: 'https://erp.example/v2'}\n"
        "routes:\n  - {name: erp, match: {path_prefix: /}, upstream: erp-api}\n"
    )
    assert (good["valid"], good["errors"]) == (True, [])
    assert ("limits", "tenant-10m", "removed") in [(one["section"], one["name"], one["what"]) for one in good["diff"]]
    changed = next(one for one in good["diff"] if one["what"] == "changed")
    assert changed["source"].startswith("policy.yaml:"), "places in what was sent, not where it was put to be looked at"
    assert {one["source"] for one in good["diff"] if one["what"] == "removed"} >= {"p.yaml:7"}
    long = await check("version: 1\n" + "# more than an order may have\n" * 5_000)
    assert [one["code"] for one in long["errors"]] == ["no-routes"]
    bad = await check("version: 1\nlimitz: {}\n")
    assert (bad["valid"], bad["errors"][0]["file"], bad["errors"][0]["line"]) == (False, "policy.yaml", 2)
    assert (await admin.ask("/-/policy/check", "POST", json={}))[1]["code"] == "YAML_REQUIRED"


@pytest.mark.parametrize("path", ["/-/policy", "/-/schema/policies.json"])
async def test_what_is_known_already_is_not_sent_again(admin: Admin, path: str) -> None:
    _, _, fields = await admin.ask(path)
    assert (await admin.ask(path, headers={"If-None-Match": fields["ETag"]}))[0] == 304
    assert (await admin.ask(path, headers={"If-None-Match": '"other"'}))[0] == 200


async def test_a_level_that_somebody_has_set_outlives_a_reload_and_then_the_settings_say_it(admin: Admin) -> None:
    status, body, _ = await admin.ask("/-/log-level", "PUT", json={"level": "error", "ttl": "1h"})
    assert (status, body["before"]["log_level"], body["after"]["log_level"]) == (200, "info", "error")
    switches, levels = admin.worker.switches, admin.worker.levels
    switches.use("debug")
    assert (levels, switches.state()["log_level"]) == (["error"], "error")
    switches._usual_again()
    assert (levels, switches.state()["log_level"]) == (["error", "debug"], "debug")
