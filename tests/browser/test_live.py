"""A page that stays open: it follows what happens without being loaded again, whatever happens to the gateway."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.browser.scene import EVIL, WAIT_S, Scene, staged
from tests.browser.visit import Look, Visit
from tests.fakes.redis_server import RedisServer
from tests.fakes.waiting import eventually

UNREACHABLE = ("ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE", "ERR_INCOMPLETE_CHUNKED")


async def stay(visit: Visit, url: str) -> None:
    """Open a page, and know it again."""
    await visit.see(url)
    await visit.page.evaluate("window.same = true")


async def is_same(visit: Visit) -> bool:
    """Whether it was never loaded again."""
    return bool(await visit.page.evaluate("window.same === true"))


async def test_the_overview_follows(own_scene: Scene, visit: Visit) -> None:
    await stay(visit, own_scene.admin)
    minutes = visit.page.locator("#minutes")
    await minutes.locator("summary").click()
    await own_scene.call("fresh", times=25)
    await own_scene.call("fresh", "conn_7", times=5)
    await visit.page.locator("#callers").get_by_text("fresh").first.wait_for()
    await own_scene.call("other", "conn_7", times=5)
    await visit.page.locator("#connections .mark.bad").first.wait_for()
    await visit.page.locator("#breakers .mark.bad").wait_for()
    assert await minutes.get_attribute("open") is not None  # what was opened stays open
    assert await is_same(visit)


async def test_a_page_of_a_caller_follows(own_scene: Scene, visit: Visit) -> None:
    await stay(visit, f"{own_scene.admin}/callers/tenant-10m/=acme")
    await own_scene.call("acme", times=7)
    await visit.page.get_by_text("7 of 20").first.wait_for()
    assert await is_same(visit)


async def test_the_feed(own_scene: Scene, visit: Visit) -> None:
    await stay(visit, own_scene.admin)
    rows = visit.page.locator("#feed tbody tr:visible")

    async def fed() -> bool:  # the stream begins a moment after the page
        await own_scene.call(EVIL, EVIL, path="/%3Cimg%20src=x%20onerror=window.broken=4%3E")
        return bool(await rows.count())

    await eventually(fed, gap_s=0.05)
    assert await rows.first.locator("td").first.inner_text() == EVIL
    assert await visit.page.evaluate("window.broken") is None
    await visit.page.get_by_label("containing").fill("no call has this")
    assert await rows.count() == 0
    await visit.page.get_by_label("containing").fill("")
    assert await rows.count() > 0
    await visit.page.get_by_role("button", name="Pause").click()
    await visit.page.get_by_role("button", name="Go on").wait_for()


@pytest.mark.parametrize("field", ["tenant", "connection"])
async def test_the_feed_of_one(own_scene: Scene, visit: Visit, field: str) -> None:
    await visit.see(own_scene.admin)
    async with visit.page.expect_request(lambda asked: f"{field}=wanted" in asked.url):
        await visit.page.get_by_label(f"of {field}").fill("wanted")
        await visit.page.keyboard.press("Enter")
    rows = visit.page.locator("#feed tbody tr")

    async def fed() -> bool:
        await own_scene.call("other", "other")
        await own_scene.call(*(("wanted", "c") if field == "tenant" else ("t", "wanted")), path="/last")
        return bool(await rows.filter(has_text="/last").count())

    await eventually(fed, gap_s=0.05)
    assert await rows.filter(has_text="/last").filter(has_text="wanted").count()
    assert not await rows.filter(has_text="other").count()


async def test_workers_that_die(own_scene: Scene, visit: Visit) -> None:
    visit.expected = UNREACHABLE
    await stay(visit, own_scene.admin)
    workers = visit.page.locator("#workers tbody tr")
    assert await workers.count() == 2
    for pid in own_scene.gateway.worker_pids().values():  # one of them has the page
        os.kill(pid, signal.SIGKILL)
        await visit.page.wait_for_function(
            f"pid => {ROWS}.length === 2 && !{ROWS}.some((row) => row.cells[1].textContent === pid)", arg=str(pid)
        )
    assert await is_same(visit)


async def test_a_page_that_cannot_be_shown_any_more_says_so(
    tmp_path: Path, own_redis_server: RedisServer, visit: Visit
) -> None:
    async with staged(tmp_path, store=own_redis_server.url) as scene:
        await scene.call("acme")
        await visit.see(f"{scene.admin}/breakers/connection/=conn_1")
        visit.expected = ("503 (Service Unavailable)", *UNREACHABLE)  # the latter when the gateway ends
        link = visit.page.locator("#link")
        own_redis_server.kill()
        await link.get_by_text("not up to date: The store does not answer (connect).").wait_for()
        assert await link.get_attribute("class") == "link lost"
        assert await visit.page.locator("#standing").is_visible()  # as it was
        own_redis_server.start()
        await visit.page.locator("#link.live").wait_for()


async def test_policies_that_change(own_scene: Scene, visit: Visit) -> None:
    await stay(visit, own_scene.admin)
    policies = own_scene.gateway.log.parent / "policies" / "test.yaml"
    good = policies.read_text()
    policies.write_text(good.replace("limit: 20,", "limit: twenty,"))
    await reload(own_scene)
    await visit.page.locator("#notices").get_by_text("rejected").wait_for()
    assert "test.yaml:7:" in await visit.page.locator("#reloads").inner_text()
    policies.write_text(good.replace("limit: 20,", "limit: 30,"))
    await reload(own_scene)
    await visit.page.locator("#notices .notice").wait_for(state="detached")
    await own_scene.call("acme")
    await visit.page.locator("#limits").get_by_text("30 per 10 min").wait_for()
    assert await is_same(visit)


ROWS = "[...document.querySelectorAll('#workers tbody tr')]"


async def reload(scene: Scene) -> None:
    async with scene.client.post(f"{scene.admin}/-/reload", json={}) as answer:
        await answer.read()


async def test_a_page_in_the_background_asks_for_nothing(own_scene: Scene, visit: Visit) -> None:
    await visit.see(own_scene.admin)
    for hidden in (False, True, False):
        await hide(visit, hidden)
        async with asyncio.timeout(WAIT_S):
            await until_streams(visit, 0 if hidden else 2)
    await own_scene.call("fresh", times=3)
    await visit.page.locator("#callers").get_by_text("fresh").first.wait_for()


async def until_streams(visit: Visit, count: int) -> None:
    await eventually(lambda: len(visit.streams) == count)


async def hide(visit: Visit, hidden: bool) -> None:
    """As a browser tells a page that nobody sees: headless ones never do."""
    script = """hidden => { Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange")); }"""
    await visit.page.evaluate(script, hidden)


@pytest.mark.parametrize("visit", [Look("light"), Look("dark")], indirect=True, ids=str)
async def test_dark_or_light_as_one_likes(scene: Scene, visit: Visit) -> None:
    await visit.see(scene.admin)
    button = visit.page.locator("#theme")
    grounds = []
    for said in ("Theme: auto", "Theme: light", "Theme: dark"):
        assert await button.inner_text() == said
        grounds.append(await visit.page.evaluate("getComputedStyle(document.body).backgroundColor"))
        await button.click()
    assert grounds[1] != grounds[2]
    assert grounds[0] == grounds[1 if visit.look.name == "light" else 2]
    await button.click()  # light
    await visit.see(scene.admin)
    assert await button.inner_text() == "Theme: light"  # it is remembered
