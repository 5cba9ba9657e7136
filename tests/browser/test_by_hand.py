"""What people do there: hold breakers, sign in, look for callers; also by keyboard and without scripts."""

from typing import Any

import pytest

from tests.browser.scene import TOKEN, Scene
from tests.browser.visit import Look, Visit

PLAIN = Look("no-scripts", scripts=False)
BREAKER = "/breakers/connection/=conn_1"


async def breaker(scene: Scene) -> Any:
    async with scene.client.get(f"{scene.admin}/-{BREAKER.replace('=', '')}") as answer:
        return await answer.json()


async def test_a_breaker_is_held_by_keyboard_and_given_back(own_scene: Scene, visit: Visit) -> None:
    await visit.see(own_scene.admin + BREAKER)
    button = visit.page.get_by_role("button", name="Open", exact=True).or_(
        visit.page.get_by_role("link", name="Open", exact=True)
    )
    await button.focus()
    await visit.page.keyboard.press("Enter")
    dialog = visit.page.get_by_role("dialog")
    await dialog.wait_for()
    assert await visit.barriers() == []
    await visit.picture("dialog")
    await visit.page.keyboard.press("Escape")
    await dialog.wait_for(state="detached")
    assert await button.evaluate("button => button === document.activeElement")
    assert (await breaker(own_scene))["state"] == "closed"  # nothing has happened
    await visit.page.keyboard.press("Enter")
    await dialog.get_by_label("For how long").select_option("1h")
    await dialog.get_by_label("Why, for the record").fill("the ERP is being moved")
    await dialog.get_by_role("button", name="Yes, hold it open").press("Enter")
    await visit.page.locator("#standing .mark.bad").wait_for()
    held = await breaker(own_scene)
    assert (held["state"], held["reason"]) == ("open", "forced")
    assert 3500 < held["next_probe_s"] <= 3600
    (change,) = await own_scene.gateway.said("admin.mutation", 1)
    assert change["reason"] == "the ERP is being moved"
    await visit.page.get_by_role("link", name="Give back").first.click()
    await dialog.get_by_role("button", name="Yes, give it back").click()
    await dialog.wait_for(state="detached")
    assert (await breaker(own_scene)).get("next_probe_s", 0) < 3500


@pytest.mark.parametrize("visit", [PLAIN], indirect=True, ids=str)
async def test_a_breaker_is_held_without_scripts(own_scene: Scene, visit: Visit) -> None:
    await visit.see(own_scene.admin + BREAKER)
    await visit.page.get_by_role("link", name="Open", exact=True).click()
    await visit.page.get_by_role("button", name="Yes, hold it open").click()
    await visit.page.locator("#standing .mark.bad").wait_for()
    assert (await breaker(own_scene))["state"] == "open"


@pytest.mark.parametrize("visit", [Look("light"), PLAIN], indirect=True, ids=str)
async def test_a_caller_is_looked_up(scene: Scene, visit: Visit) -> None:
    await visit.see(f"{scene.admin}/limits")
    await visit.page.get_by_label("Limit").select_option("tenant-10m")
    await visit.page.get_by_label("Key").fill("globex")
    await visit.page.get_by_role("button", name="Show").click()
    await visit.page.get_by_role("heading", name="tenant-10m: globex").wait_for()
    assert await visit.page.get_by_text("5 of 20").first.is_visible()


async def test_the_first_key_skips_to_the_content(scene: Scene, visit: Visit) -> None:
    await visit.see(scene.admin)
    await visit.page.keyboard.press("Tab")
    await visit.page.keyboard.press("Enter")
    await visit.page.wait_for_function("document.activeElement.id === 'main'")


@pytest.mark.parametrize("visit", [Look("light"), PLAIN], indirect=True, ids=str)
async def test_signing_in_and_out(locked: Scene, visit: Visit) -> None:
    visit.expected = ("401 (Unauthorized)",)
    await visit.page.goto(f"{locked.admin}/limits")
    for token in ("wrong", TOKEN):
        await visit.page.get_by_label("Admin token").fill(token)
        await visit.page.keyboard.press("Enter")
        if token == "wrong":
            await visit.page.get_by_text("That is not the token").wait_for()
            await visit.picture("login-wrong")
    await visit.page.get_by_role("heading", name="All limits").wait_for()  # what was asked for
    (cookie,) = await visit.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert TOKEN not in cookie["value"]
    await visit.see(locked.admin)
    await visit.page.get_by_role("button", name="Sign out").click()
    await visit.page.get_by_label("Admin token").wait_for()
    assert await visit.context.cookies() == []


async def test_a_page_is_asked_to_sign_in_when_its_session_has_ended(locked: Scene, visit: Visit) -> None:
    visit.expected = ("401 (Unauthorized)",)
    await visit.page.goto(f"{locked.admin}/")
    await visit.page.get_by_label("Admin token").fill(TOKEN)
    await visit.page.keyboard.press("Enter")
    await visit.page.locator("#link.live").wait_for()
    await visit.context.clear_cookies()
    await visit.page.evaluate("dispatchEvent(new Event('pagehide')), dispatchEvent(new Event('pageshow'))")
    await visit.page.get_by_label("Admin token").wait_for()
