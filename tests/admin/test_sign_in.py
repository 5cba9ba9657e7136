"""Browsers and the admin token: a form, a cookie that is not the token, and nothing that other sites can make use of."""

from collections.abc import Mapping
from dataclasses import replace
from http.cookies import SimpleCookie
from json import loads
from typing import Any

import pytest

from gateway.admin.page import doorstep, session
from gateway.admin.page.doorstep import Doorstep
from gateway.admin.page.login import local
from gateway.core.guards import Breaker
from gateway.observe.log.logger import close_logging, configure_logging, hear_events, hear_no_events
from gateway.settings import Logging
from tests.admin.conftest import POLICIES, ROUTE, Admin, StartAdmin

TOKEN = "0123456789abcdef-T0ken"
READING = "fedcba9876543210-t0Read"
BREAKER = Breaker("vendor", ("connection",), consecutive_failures=3)
BROWSER = {"Accept": "text/html,application/xhtml+xml"}
OURS = {"Sec-Fetch-Site": "same-origin"}
NOW_S = 1_700_000_000.0


@pytest.fixture
async def guarded(start_admin: StartAdmin) -> Admin:
    return await start_admin(admin_token=TOKEN)


async def sign_in(
    admin: Admin, token: str = TOKEN, headers: dict[str, str] = OURS, **form: str
) -> tuple[int, Any, Any]:
    data = {"token": token, **form}
    return await admin.ask("/login", "POST", data=data, headers={**BROWSER, **headers}, allow_redirects=False)


async def cookie(admin: Admin) -> str:
    _, _, fields = await sign_in(admin)
    (morsel,) = SimpleCookie(fields["Set-Cookie"]).values()
    admin.client.cookie_jar.clear()
    return f"{morsel.key}={morsel.value}"


@pytest.mark.parametrize("path", ["/", "/limits", "/callers/tenant-10m/=acme", "/breakers", "/nothing"])
async def test_a_browser_without_a_cookie_is_asked_for_the_token(guarded: Admin, path: str) -> None:
    status, body, fields = await guarded.ask(path, headers=BROWSER)
    assert status == 401
    assert '<input type="password" name="token"' in body
    assert f'name="next" value="{path}"' in body
    assert "tenant-10m" not in body.replace(path, "")
    assert "script-src 'self'" in fields["Content-Security-Policy"]


async def test_programs_are_told_in_json(guarded: Admin) -> None:
    for path, fields in (("/", {}), ("/-/status", BROWSER), ("/live", {})):
        status, body, _ = await guarded.ask(path, headers=fields)
        assert (status, body["code"]) == (401, "TOKEN_REQUIRED")


async def test_signing_in_and_out(guarded: Admin) -> None:
    status, _, fields = await sign_in(guarded, next="/limits?x=1")
    assert (status, fields["Location"]) == (303, "/limits?x=1")
    (morsel,) = SimpleCookie(fields["Set-Cookie"]).values()
    assert (morsel["httponly"], morsel["samesite"], morsel["path"]) == (True, "Strict", "/")
    assert int(morsel["max-age"]) == session.LIFE_S
    assert TOKEN not in fields["Set-Cookie"]
    known = {"Cookie": f"{morsel.key}={morsel.value}", **BROWSER}
    guarded.client.cookie_jar.clear()
    assert (await guarded.ask("/", headers=known))[0] == 200
    assert (await guarded.ask("/-/status", headers=known))[0] == 200
    status, _, fields = await guarded.ask("/logout", "POST", headers={**known, **OURS}, allow_redirects=False)
    assert status == 303
    assert all("Max-Age=0" in value for value in fields.getall("Set-Cookie"))


async def test_who_signs_in_with_the_token_for_reading_may_only_look(start_admin: StartAdmin) -> None:
    admin = await start_admin(admin_token=TOKEN, admin_read_token=READING)
    admin.worker.policies = replace(POLICIES, routes=(replace(ROUTE, breaker=BREAKER),), breakers={"vendor": BREAKER})
    status, _, fields = await sign_in(admin, READING)
    (morsel,) = SimpleCookie(fields["Set-Cookie"]).values()
    admin.client.cookie_jar.clear()
    assert status == 303
    known = {"Cookie": f"{morsel.key}={morsel.value}", **BROWSER, **OURS, "Origin": origin(admin)}
    assert (await admin.ask("/", headers=known))[0] == 200
    assert (await admin.ask("/breakers/vendor/=acme", headers=known))[0] == 200
    for method, path in (("POST", "/breakers/vendor/=acme"), ("GET", "/breakers/vendor/=acme?hold=open")):
        status, body, _ = await admin.ask(path, method, headers=known)
        assert (status, "is for reading" in body) == (403, True)
    status, body, _ = await admin.ask("/-/limits/tenant-10m/acme", "DELETE", headers=known)
    assert (status, body["code"]) == (403, "READ_ONLY")
    status, _, fields = await sign_in(admin, TOKEN, {**known})
    assert status == 303, "who may only look can come in again with the other token"
    assert (await admin.ask("/logout", "POST", headers=known, allow_redirects=False))[0] == 303


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], TOKEN + "x", "\u00e9", f"Bearer {TOKEN}"])
async def test_another_token_does_not_let_in(guarded: Admin, token: str) -> None:
    status, body, fields = await sign_in(guarded, token)
    assert (status, "Set-Cookie" in fields) == (401, False)
    assert "not the token" in body
    assert not token or f'"{token}"' not in body


@pytest.mark.parametrize(
    "fields", [{}, {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}]
)
async def test_other_sites_cannot_sign_anybody_in(guarded: Admin, fields: dict[str, str]) -> None:
    status, _, answered = await sign_in(guarded, headers=fields)
    assert (status, "Set-Cookie" in answered) == (403, False)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://127.0.0.1:1"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Basic {TOKEN}"},
    ],
)
async def test_a_cookie_alone_changes_nothing(guarded: Admin, fields: dict[str, str]) -> None:
    """Another server on this host is another origin, though it is the same site and its pages come with our cookie."""
    known = {"Cookie": await cookie(guarded), **fields}
    status, body, _ = await guarded.ask("/-/limits/tenant-10m/acme", "DELETE", headers=known)
    assert (status, body["code"]) == (403, "ORIGIN_NOT_ALLOWED")
    assert (
        await guarded.ask("/-/limits/tenant-10m/acme", "DELETE", headers={**known, **OURS, "Origin": origin(guarded)})
    )[0] == 200


def origin(admin: Admin) -> str:
    return f"http://127.0.0.1:{admin.port}"


async def test_an_invented_cookie_does_not_let_in(guarded: Admin) -> None:
    real = await cookie(guarded)
    name, _, value = real.partition("=")
    ends, nonce, mac = value.split(".")
    for forged in (
        TOKEN,
        f"{int(ends) + 1}.{nonce}.{mac}",
        f"{ends}.{nonce}x.{mac}",
        f"{ends}.{nonce}.{mac[:-1]}",
        f"..{mac}",
        "\u00e9",
    ):
        assert (await guarded.ask("/-/status", headers={"Cookie": f"{name}={forged}"}))[0] == 401, forged
    assert (await guarded.ask("/-/status", headers={"Cookie": real}))[0] == 200


def test_a_session_ends_by_itself_and_with_its_token() -> None:
    value = session.issued(b"one", NOW_S)
    assert session.holds(b"one", value, NOW_S)
    assert session.holds(b"one", value, NOW_S + session.LIFE_S - 1)
    assert not session.holds(b"one", value, NOW_S + session.LIFE_S)
    assert not session.holds(b"one", value, NOW_S - 3600)  # lasts longer than any that was issued
    assert not session.holds(b"two", value, NOW_S)


async def test_without_a_token_there_is_nothing_to_sign_in_to(admin: Admin) -> None:
    status, _, fields = await admin.ask("/login?next=/limits", headers=BROWSER, allow_redirects=False)
    assert (status, fields["Location"]) == (303, "/limits")
    assert "Sign out" not in (await admin.ask("/", headers=BROWSER))[1]


@pytest.mark.parametrize(
    "target",
    ["//evil.example", "/\\evil.example", "https://evil.example", "", "evil", "/a\r\nX: y", "/\t/evil.example"],
)
def test_one_is_not_sent_elsewhere(target: str) -> None:
    assert local(target) == "/"


async def test_the_style_of_the_form_needs_no_token(guarded: Admin) -> None:
    assert (await guarded.ask("/assets/page.css"))[0] == 200
    for path in ("/assets/../-/status", "/assets/%2e%2e/-/status", "/login/../-/status"):
        assert (await guarded.ask(path))[0] in (401, 404)


async def test_who_tries_tokens_has_to_wait(guarded: Admin) -> None:
    for number in range(doorstep.AT_ONCE):
        assert (await sign_in(guarded, f"wrong-{number}"))[0] == 401
    for token in ("wrong-again", TOKEN):  # the right one is not looked at either: that would tell
        status, body, fields = await sign_in(guarded, token, next="/limits")
        assert (status, "Set-Cookie" in fields) == (429, False)
        assert 0 < int(fields["Retry-After"]) <= doorstep.EVERY_S
        assert f"Try again in {fields['Retry-After']} s." in body
        assert 'name="next" value="/limits"' in body
    shown = {"Authorization": f"Bearer {TOKEN}"}
    assert (await guarded.ask("/-/status", headers=shown))[0] == 200  # programs go on


async def test_a_wrong_token_is_on_record(guarded: Admin, capfd: pytest.CaptureFixture[str]) -> None:
    configure_logging(Logging(pretty=False), {})
    for number in range(3):
        await sign_in(guarded, f"wrong-{number}")
    close_logging()
    (line,) = (one for one in map(loads, capfd.readouterr().out.splitlines()) if one["event_name"] == "admin.denied")
    assert (line["actor"], line["target"], line["count"]) == ("127.0.0.1", "/login", 1)


def test_wrong_tokens_are_forgotten_one_by_one() -> None:
    step = Doorstep()
    for _ in range(doorstep.AT_ONCE):
        assert step.wait_s("192.0.2.1", 100.0) == 0
        step.wrong("192.0.2.1", 100.0)
    assert step.wait_s("192.0.2.1", 100.0) == doorstep.EVERY_S
    assert step.wait_s("192.0.2.1", 103.5) == 7
    assert step.wait_s("192.0.2.1", 110.0) == 0
    step.wrong("192.0.2.1", 110.0)
    assert step.wait_s("192.0.2.1", 110.0) == doorstep.EVERY_S


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:0:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        (None, "", True),
    ],
)
def test_whose_wrong_tokens_they_are(one: str | None, other: str | None, same: bool) -> None:
    step = Doorstep()
    for _ in range(doorstep.AT_ONCE):
        step.wrong(one, 0.0)
    assert bool(step.wait_s(other, 0.0)) is same


def test_however_many_addresses_there_are_memory_is_bounded() -> None:
    step = Doorstep()
    for number in range(3 * doorstep.MOST_ADDRESSES):
        step.wrong(f"10.0.{number >> 8}.{number & 255}", 0.0)
    assert len(step._empty_s) == doorstep.MOST_ADDRESSES


async def test_what_a_change_was_let_in_by_is_on_record(guarded: Admin) -> None:
    heard: list[Mapping[str, Any]] = []
    hear_events(heard.append)
    try:
        by_cookie = {"Cookie": await cookie(guarded), **OURS, "Origin": origin(guarded)}
        for fields in (by_cookie, {"Authorization": f"Bearer {TOKEN}"}):
            assert (await guarded.ask("/-/limits/tenant-10m/acme", "DELETE", headers=fields))[0] == 200
    finally:
        hear_no_events(heard.append)
    assert [(line["action"], line["let_in_by"]) for line in heard] == [
        ("dashboard.sign_in", "token"),
        ("limit.reset", "session"),
        ("limit.reset", "token"),
    ]
    assert TOKEN not in str(heard)
