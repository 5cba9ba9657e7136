"""The dashboard as a browser without JavaScript gets it: everything is there, and nothing that callers sent is markup."""

from dataclasses import replace
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest

from gateway.admin.operations.status import caches
from gateway.admin.page import live, modules, trouble
from gateway.admin.page.assets import assets
from gateway.admin.page.live import Snapshot
from gateway.admin.page.markup import element, fill
from gateway.admin.page.paths import naming, path_of
from gateway.admin.page.use import amount, upstream_row
from gateway.admin.page.words import lasting
from gateway.core.ask import Ask
from gateway.core.connections.counts import Row
from gateway.core.connections.state import Failure, Named
from gateway.core.connections.state import Report as Seen
from gateway.core.guards import Breaker, Guard, State
from gateway.core.keys import partition, partition_key
from gateway.core.limits import Algorithm, Charge, Limit
from gateway.observe.log.logger import close_logging, configure_logging, event
from gateway.record import CallRecord
from gateway.settings import Logging
from tests.admin.conftest import BUCKET, EVERYBODY, POLICIES, ROUTE, WINDOW, Admin
from tests.core.cache.cache_cases import a_cache

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;\u202e\x1b[31m{{main}}"
S = 1_000_000
BREAKER = Breaker("connection", ("connection",), consecutive_failures=3, open_us=30 * S, source="p.yaml:50")
OWN = Breaker("own", ("connection",), shared=False, consecutive_failures=1)
FRAGMENTS = ("notices", "figures", "past", "connections", "breakers", "limits", "callers")
PAGES = ["/", "/limits", "/connections", "/breakers", "/callers/tenant-10m/=acme", "/login"]


class Page(HTMLParser):
    """Elements with their attributes, texts, and whether every element that was begun was ended."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append(data.strip())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def ids(self) -> list[str]:
        return [str(attributes["id"]) for _, attributes in self.elements if "id" in attributes]

    @property
    def links(self) -> list[str]:
        return [str(one["href"]) for one in self.all("a")]


async def page(admin: Admin, path: str, status: int = 200) -> Page:
    given, body, fields = await admin.ask(path, headers={"Accept": "text/html"})
    assert (given, fields["Content-Type"]) == (status, "text/html; charset=utf-8"), body
    return Page(body)


def call(limit: Limit, key: str, *, tenant: str = "acme", fired: bool = False) -> CallRecord:
    record = CallRecord()
    record.ask, record.tenant = Ask((Charge(limit, key, 1),)), tenant
    if fired:
        record.verdict, record.limit_fired = "limited", limit.name
    return record


@pytest.fixture
def busy(admin: Admin) -> Admin:
    """Has breakers, and callers of which one is called like an attack."""
    admin.worker.policies = replace(
        POLICIES, routes=(replace(ROUTE, breaker=BREAKER),), breakers={one.name: one for one in (BREAKER, OWN)}
    )
    keys = [partition_key(WINDOW, {"tenant": tenant}) for tenant in ("acme", EVIL)]
    calls = [call(WINDOW, key, fired=True) for key in keys]
    for take in admin.worker.batch.takers:
        take([*calls, call(EVERYBODY, partition_key(EVERYBODY, {}))])
    return admin


async def trip(admin: Admin, connection: str) -> str:
    """Hold a breaker open; its partition."""
    guard = Guard(BREAKER, partition("breaker:connection", BREAKER.key, {"connection": connection}))
    await admin.worker.store.force(guard, State.OPEN, 60 * S)
    return guard.key


async def in_trouble(admin: Admin, tenant: str, connection: str) -> None:
    failure = Failure(0, EVIL, 503, EVIL, EVIL, EVIL)
    seen = Seen((Row(EVIL, EVIL, failed=9),), failures=9, tail=9, failure=failure, shut=((EVIL, 0),))
    await admin.worker.statuses.report([(Named(tenant, connection), seen)])


async def test_the_overview_has_everything_without_scripts(busy: Admin) -> None:
    await trip(busy, "conn_7")
    await in_trouble(busy, "acme", "conn_7")
    found = await page(busy, "/")
    assert [one for one in found.ids if one in FRAGMENTS] == list(FRAGMENTS)
    assert {"calls / s", "refused", "gateway", "store", "upstream", "offline", "open"} <= set(found.texts)
    assert "/connections/conn_7?tenant=acme" in found.links
    assert "/callers/tenant-10m/=acme" in found.links
    assert [one for one in found.links if one.startswith("/breakers/")] == [
        "/breakers/connection/=conn_7",
        *(f"/breakers/connection/=conn_7?hold={state}" for state in ("open", "closed", "auto")),
    ]
    assert {"http-equiv": "refresh", "content": "10"} in found.all("meta")


@pytest.mark.parametrize("path", ["/limits", "/breakers"])
async def test_without_scripts_there_is_time_to_fill_in_a_form(busy: Admin, path: str) -> None:
    assert {"http-equiv": "refresh", "content": "60"} in (await page(busy, path)).all("meta")


@pytest.mark.parametrize("path", PAGES)
async def test_every_page_has_one_heading_its_language_and_a_policy(busy: Admin, path: str) -> None:
    busy.worker.settings = replace(busy.worker.settings, name=EVIL)
    _, body, fields = await busy.ask(path, headers={"Accept": "text/html"}, allow_redirects=True)
    found = Page(body)
    assert (len(found.all("h1")), found.all("html")) == (1, [{"lang": "en"}])
    assert len(found.ids) == len(set(found.ids))
    policy = fields["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert fields["Cache-Control"] == "no-store"
    for script in found.all("script"):
        assert str(script["src"]).startswith("/assets/")
    for _, attributes in found.elements:
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]


async def test_nothing_is_asked_of_another_host(admin: Admin) -> None:
    for name, (content, _) in assets().items():
        text = content.decode()
        if name not in ("uplot.js", "icon.svg", "uplot.LICENSE.txt"):  # a comment with its home, a namespace, a licence
            assert "//" not in text.replace("http://www.w3.org/2000/svg", "").replace("// ", ""), name
    found = await page(admin, "/")
    for tag, attribute in (("script", "src"), ("link", "href"), ("a", "href"), ("form", "action")):
        for one in found.all(tag):
            assert str(one[attribute]).startswith(("/", "#")), one


@pytest.mark.parametrize("path", ["/", "/connections", f"/connections/{'%3Cb%3E'}?tenant=acme", "/limits", "/breakers"])
async def test_what_callers_send_is_text(busy: Admin, path: str) -> None:
    configure_logging(Logging(level="error"), {})
    event("breaker.opened", "Breaker opened", name="connection", key=EVIL, caller=EVIL)
    await in_trouble(busy, "acme", "<b>")
    await in_trouble(busy, EVIL, EVIL)
    busy.worker.policies = replace(
        busy.worker.policies, limits={**busy.worker.policies.limits, EVIL: replace(BUCKET, name=EVIL, source=EVIL)}
    )
    _, body, _ = await busy.ask(path, headers={"Accept": "text/html"})
    found = Page(body)
    assert "alert" not in " ".join(str(one.get("src")) for one in found.all("script"))
    assert not [tag for tag, _ in found.elements if tag == "img"]
    assert len(found.all("script")) == 3
    assert len(found.all("main")) == 1
    assert "\x1b" not in body
    assert "\u202e" not in body


async def test_the_page_of_a_caller(busy: Admin) -> None:
    await busy.spend(WINDOW, partition_key(WINDOW, {"tenant": "acme"}), 42)
    found = await page(busy, "/callers/tenant-10m/=acme")
    assert {"42 of 500", "458", "500 per 10 min", "p.yaml:7"} <= set(found.texts)
    (chart,) = (one for one in found.all("div") if "data-chart" in one)
    times, passed, refused = orjson.loads(str(chart["data-chart"]))
    assert (len(times), passed[-1], refused[-1]) == (1, 0, 1)


async def test_a_caller_of_a_shadow_leads_to_the_page_of_the_limit(busy: Admin) -> None:
    assert WINDOW.shadow is not None
    shadow = replace(WINDOW.shadow, name="tenant-10m.shadow")
    for take in busy.worker.batch.takers:
        take([call(shadow, partition_key(shadow, {"tenant": "globex"}))] * 5)
    (path,) = {link for link in (await page(busy, "/")).links if "globex" in link}
    assert path == "/callers/tenant-10m/=globex"
    assert "its shadow" in (await page(busy, path)).texts


async def test_the_page_of_a_caller_whose_name_is_only_known_by_its_hash(busy: Admin) -> None:
    key = partition_key(WINDOW, {"tenant": EVIL})
    await busy.spend(WINDOW, key, 7)
    path = path_of("callers", key)
    assert path in (await page(busy, "/")).links
    assert "7 of 500" in (await page(busy, path)).texts


@pytest.mark.parametrize(
    ("limit", "key", "parts"),
    [
        (WINDOW, "acme", {"tenant": "acme"}),
        (WINDOW, " a b ", {"tenant": "a b"}),
        (WINDOW, "wayne/enterprises", {"tenant": "wayne/enterprises"}),
        (WINDOW, "wayne%2Fenterprises", {"tenant": "wayne/enterprises"}),
        (WINDOW, "~", {"tenant": None}),
        (WINDOW, "%7E", {"tenant": "~"}),
        (WINDOW, "100%25", {"tenant": "100%"}),
        (BUCKET, "acme/a%2Fb", {"tenant": "acme", "connection": "a/b"}),
        (BUCKET, "~/東", {"tenant": None, "connection": "東"}),
    ],
)
async def test_a_caller_is_looked_up_by_any_value(admin: Admin, limit: Limit, key: str, parts: dict[str, Any]) -> None:
    query = urlencode({"limit": limit.name, "key": key})
    status, _, fields = await admin.ask(f"/callers?{query}", allow_redirects=False)
    assert (status, fields["Location"]) == (303, naming("callers", partition_key(limit, parts), parts))
    names = ", ".join("anonymous" if value is None else value for value in parts.values())
    assert f"{limit.name}: {names}" in (await page(admin, fields["Location"])).texts


async def test_a_name_behind_the_path_is_only_believed_if_it_fits(admin: Admin) -> None:
    path = path_of("callers", partition_key(WINDOW, {"tenant": "a/b"}))
    assert "tenant-10m: a/b" in (await page(admin, f"{path}?is=c%2Fd&is=a%2Fb")).texts
    assert not any("c/d" in text for text in (await page(admin, f"{path}?is=c%2Fd")).texts)


async def test_a_breaker_is_held_by_the_name_it_was_looked_up_by(busy: Admin) -> None:
    _, _, fields = await busy.ask("/breaker?breaker=connection&key=a/b", allow_redirects=False)
    found = await page(busy, fields["Location"])
    assert "Breaker connection: a/b" in found.texts
    (asked,) = (link for link in found.links if "hold=open" in link)
    question = await page(busy, asked)
    assert "connection of a/b" in question.texts
    (action,) = (str(one["action"]) for one in question.all("form"))
    held = {"data": {"state": "open", "ttl": "1m"}, "headers": {"Sec-Fetch-Site": "same-origin"}}
    status, _, fields = await busy.ask(action, "POST", allow_redirects=False, **held)
    assert (status, fields["Location"]) == (303, action)
    assert "held by hand" in (await page(busy, action)).texts


async def test_an_override_counts_though_the_path_only_has_a_hash(busy: Admin) -> None:
    long = replace(WINDOW.overrides[0], match=(("tenant", "big corp"),))
    limit = replace(WINDOW, overrides=(long,))
    busy.worker.policies = replace(busy.worker.policies, limits={limit.name: limit})
    found = await page(busy, path_of("callers", partition_key(limit, {"tenant": "big corp"})))
    assert "0 of 5,000" in found.texts


@pytest.mark.parametrize(
    "path",
    [
        "/callers/nothing/=acme",
        "/callers/tenant-10m",
        "/callers/tenant-10m/acme",
        "/callers/tenant-10m/=a/=b",
        "/callers/tenant-10m/=%3Cb%3E",
        "/callers/tenant-10m/%23123",
        "/connections/nobody",
        "/connections/a/b",
        "/breakers/nothing/=a",
        "/breakers/connection",
        "/assets/nothing.js",
        "/assets/page.html",
        "/assets/..%2f..%2f__init__.py",
        "/nothing",
    ],
)
async def test_what_there_is_not(busy: Admin, path: str) -> None:
    found = await page(busy, path, 404)
    assert "/" in found.links
    status, body, _ = await busy.ask(path)
    assert (status, body["status"]) == (404, 404)  # for programs, as a document


async def test_the_page_of_a_connection(busy: Admin) -> None:
    key = await trip(busy, "conn_7")
    await in_trouble(busy, "acme", "conn_7")
    found = await page(busy, "/connections/conn_7?tenant=acme")
    assert {"offline", "open", "503", "acme"} & set(found.texts) >= {"offline", "open", "acme"}
    assert f"{path_of('breakers', key)}?hold=closed" in found.links
    (chart,) = (one for one in found.all("div") if "data-chart" in one)
    assert orjson.loads(str(chart["data-chart"]))[1:] == [[0], [0], [9]]


async def test_a_page_of_the_list_leads_to_the_next(busy: Admin) -> None:
    seen = Seen((Row("", "", ok=1),), answer_us=0)
    await busy.worker.statuses.report([(Named("acme", f"conn_{number}"), seen) for number in range(150)])
    first = await page(busy, "/connections?state=online")
    (more,) = (one for one in first.links if "cursor=" in one)
    second = await page(busy, more)
    listed = [{one for one in found.links if "tenant=" in one} for found in (first, second)]
    assert [len(one) for one in listed] == [100, 50]
    assert not listed[0] & listed[1]
    assert "state=online" in more


# Breakers held by hand

OURS = {"Sec-Fetch-Site": "same-origin"}


async def test_a_breaker_is_held_by_a_form_after_a_question(busy: Admin) -> None:
    path = "/breakers/connection/=conn_7"
    asked = await page(busy, f"{path}?hold=open")
    (form,) = (one for one in asked.all("form") if one.get("action") == path)
    assert form["method"] == "post"
    assert (await busy.ask("/-/breakers/connection/conn_7"))[1]["state"] == "closed"  # nothing has happened yet
    answered = await busy.ask(path, "POST", data={"state": "open", "ttl": "10m"}, headers=OURS, allow_redirects=False)
    assert (answered[0], answered[2]["Location"]) == (303, path)
    assert (await busy.ask("/-/breakers/connection/conn_7"))[1]["next_probe_s"] > 30
    await busy.ask(path, "POST", data={"state": "auto"}, headers=OURS)
    assert (await busy.ask("/-/breakers/connection/conn_7"))[1].get("next_probe_s", 0) <= 30


async def test_why_a_breaker_is_held_is_on_record(busy: Admin, capfd: pytest.CaptureFixture[str]) -> None:
    configure_logging(Logging(pretty=False), {})
    path = "/breakers/connection/=conn_7"
    for hold in ("open", "auto"):
        (field,) = (
            one for one in (await page(busy, f"{path}?hold={hold}")).all("input") if one.get("name") == "reason"
        )
        assert field["maxlength"] == "200"
    for sent in (
        {"state": "open", "ttl": "10m", "reason": " the CRM is being moved "},
        {"state": "auto", "reason": " "},
    ):
        await busy.ask(path, "POST", data=sent, headers=OURS)
    close_logging()
    told = [orjson.loads(line) for line in capfd.readouterr().out.splitlines() if line.startswith("{")]
    assert [one.get("reason") for one in told if one["event_name"] == "admin.mutation"] == [
        "the CRM is being moved",
        None,
    ]
    sent = {"state": "open", "ttl": "10m", "reason": "x" * 201}
    assert (await busy.ask(path, "POST", data=sent, headers=OURS))[0] == 400


async def test_a_breaker_of_each_worker_is_held_too(busy: Admin) -> None:
    await busy.ask("/breakers/own/=conn_7", "POST", data={"state": "open", "ttl": "1m"}, headers=OURS)
    assert (await busy.ask("/-/breakers/own/conn_7"))[1]["workers"][0]["state"] == "open"
    assert "open" in (await page(busy, "/breakers/own/=conn_7")).texts


@pytest.mark.parametrize(
    "sent", [{}, {"state": "open"}, {"state": "ajar", "ttl": "1m"}, {"state": "auto", "ttl": ""}, {"ttl": "1m"}]
)
async def test_a_form_that_was_not_filled_in_changes_nothing(busy: Admin, sent: dict[str, str]) -> None:
    status, _, _ = await busy.ask("/breakers/connection/=conn_7", "POST", data=sent, headers=OURS)
    assert status == (200 if sent.get("state") == "auto" else 400)  # 200: of the page it leads to
    assert (await busy.ask("/-/breakers/connection/conn_7"))[1]["state"] == "closed"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
    ],
)
async def test_only_our_own_pages_send_forms(busy: Admin, fields: dict[str, str]) -> None:
    sent = {"state": "open", "ttl": "10m"}
    status, body, _ = await busy.ask("/breakers/connection/=conn_7", "POST", data=sent, headers=fields)
    assert (status, body["code"]) == (403, "ORIGIN_NOT_ALLOWED")
    assert (await busy.ask("/-/breakers/connection/conn_7"))[1]["state"] == "closed"


# The stream


async def test_an_open_page_is_kept_up_to_date(busy: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "EVERY_S", 0.05)
    async with busy.client.get(f"http://127.0.0.1:{busy.port}/live") as stream:
        assert stream.headers["Content-Type"] == "text/event-stream"
        hardened = [stream.headers[name] for name in ("Cache-Control", "X-Content-Type-Options", "Server")]
        assert hardened == ["no-store", "nosniff", "gateway"]
        first = await message(stream)
        assert set(first["parts"]) >= set(FRAGMENTS)
        assert "conn_7" not in first["parts"]["breakers"]
        await trip(busy, "conn_7")
        parts: dict[str, str] = {}
        while "conn_7" not in parts.get("breakers", ""):
            parts = (await message(stream))["parts"]
        assert "reloads" not in parts  # only what has changed is sent


async def message(stream: Any) -> Any:
    while not (line := await stream.content.readline()).startswith(b"data: "):
        assert line, "the stream has ended"
    return orjson.loads(line.removeprefix(b"data: "))


def test_a_bucket_s_rate_is_shown_as_it_was_written() -> None:
    bucket = Limit(
        "connection-1m", Algorithm.TOKEN_BUCKET, 20, 5 * S, ("connection",), rate=4, per_us=1_000_000, times=60
    )
    assert amount(bucket) == "20, 240 back per 1 min"


def test_a_page_is_sent_what_it_does_not_know() -> None:
    snapshot = Snapshot()
    snapshot.take({"a": "1", "b": "1"})
    snapshot.take({"a": "2", "b": "1"})
    snapshot.take({"a": "2", "b": "1"})
    sent = [orjson.loads(snapshot.since(number).removeprefix(b"data: "))["parts"] for number in range(4)]
    assert sent == [{"a": "2", "b": "1"}, {"a": "2"}, {}, {}]


# Pieces


def test_markup_is_only_what_was_made_as_markup() -> None:
    assert element("td", EVIL, title=EVIL).count("<") == 2
    assert element("a", element("b", "<"), None, 3, href="/") == '<a href="/"><b>&lt;</b>3</a>'
    assert element("input", required=True, value=None, hidden=False) == "<input required>"
    assert fill("<p>{{a}} {{b}}</p>", a="{{b}}", b="<") == "<p>{{b}} &lt;</p>"


async def test_assets_are_asked_for_anew_and_sent_when_they_changed(admin: Admin) -> None:
    status, body, fields = await admin.ask("/assets/page.js")
    assert (status, fields["Content-Type"], fields["Cache-Control"]) == (
        200,
        "text/javascript; charset=utf-8",
        "no-cache",
    )
    assert "import" in body
    again, body, _ = await admin.ask("/assets/page.js", headers={"If-None-Match": fields["ETag"]})
    assert (again, body) == (304, "")
    assert "Permission is hereby granted" in (await admin.ask("/assets/uplot.LICENSE.txt"))[1]


def text_of(html: str) -> str:
    return " ".join(Page(html).texts)


def test_of_breakers_that_are_not_shown_it_is_said_how_to_find_them() -> None:
    found: dict[str, Any] = {"not_closed": []}
    assert "look one up by its key" not in trouble.breakers(found)
    assert "look one up by its key" in trouble.breakers({**found, "more": True})


def test_tokens_that_fail_are_shown_with_the_reason() -> None:
    failing = {"credentials": "crm", "serving": False, "serves_s": None, "reason": "invalid_client", "again_s": 42}
    found = {"count": 3, "with_token": 2, "renewals": 7, "failing": [failing]}
    assert "2 of 3 renewals 7" in text_of(modules.tokens(found))
    assert "crm none invalid_client in 42 s" in text_of(modules.tokens(found))
    serving = failing | {"serving": True, "serves_s": 90, "again_s": None}
    assert "old one, 1 min left" in text_of(modules.tokens(found | {"failing": [serving]}))
    assert "with the next call" in text_of(modules.tokens(found | {"failing": [serving]}))


async def test_caches_of_all_workers_are_added_up(admin: Admin) -> None:
    keeping = replace(ROUTE, cache=a_cache())
    admin.worker.policies = replace(POLICIES, routes=(keeping,))
    part = {"erp": {"kept": (3, 1 << 19), "answers": {"hit": 8, "miss": 2}}}
    found = caches(admin.worker, [part, {"erp": {"kept": (1, 1 << 19), "answers": {"stale": 1, "bypass": 5}}}])
    assert "erp 81.8 % 9 2 5 4 1 MiB" in text_of(modules.caches(found))
    assert "erp \u2013 0 0 0 0 0 MiB" in text_of(modules.caches(caches(admin.worker, [])))


def test_webhooks_that_do_not_arrive_are_told_from_those_that_do() -> None:
    queue = {"receiver": "ops", "direction": "out", "trying": 0, "retrying": 0, "dead": 0, "oldest_s": 0.0}
    fine = queue | {"waiting": 0, "resting_s": 0.0, "failures_in_a_row": 0}
    resting = queue | {"waiting": 1_200, "resting_s": 64.0, "failures_in_a_row": 9, "oldest_s": 7_200.0}
    assert "ops out delivers 0 0 0 0 \u2013" in text_of(modules.webhooks([fine]))
    assert "left alone for 1 min: 9 failures in a row 1,200 0 0 0 2 h" in text_of(modules.webhooks([resting]))
    assert "dead letters 0 0 0 3" in text_of(modules.webhooks([fine | {"dead": 3}]))
    assert "last try failed" in text_of(modules.webhooks([fine | {"failures_in_a_row": 1}]))


async def test_a_reload_that_failed_is_told_until_one_does_not(admin: Admin, capfd: pytest.CaptureFixture[str]) -> None:
    event("policy.failed", "Policy not put in place", "error", reason="worker 1: no such certificate")
    _, shown, _ = await admin.ask("/", headers={"Accept": "text/html"})
    assert "The last reload failed: <code>worker 1: no such certificate</code>" in shown
    event("policy.unchanged", "Policy unchanged")
    _, shown, _ = await admin.ask("/", headers={"Accept": "text/html"})
    assert "The last reload" not in shown


async def test_what_is_not_in_use_is_not_shown(admin: Admin) -> None:
    found = await page(admin, "/")
    hidden = {one["id"]: "hidden" in one for one in found.all("section") if "id" in one}
    assert [name for name, is_so in hidden.items() if is_so] == ["tokens", "caches", "webhooks"]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.25, "0.25 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (3_600, "1 h"),
        (12_000, "3 h 20 min"),
        (86_400, "1 d"),
        (187_200, "2 d 4 h"),
    ],
)
def test_how_long_in_words(seconds: float, said: str) -> None:
    assert lasting(seconds) == said


def test_an_upstream_that_refuses_credentials_does_not_look_well() -> None:
    latency = {"count": 4, "p50_ms": 1.0, "p99_ms": 9.0}
    one = {"upstream": "erp", "calls": 4, "calls_per_s": 0.4, "failed": 0, "why": {}, "denied": 4, "latency": latency}
    row = upstream_row(one)
    assert "warn" in str(row[2])
    assert row[3] == "401 or 403 4"
    assert "good" in str(upstream_row({**one, "denied": 0})[2])
