"""Every page in every look: nothing in the console, nothing asked of others, no barriers, nothing beside the screen."""

from hashlib import blake2b
from urllib.parse import quote

import pytest

from tests.browser.scene import EVIL, Scene
from tests.browser.visit import Look, Visit

NOT_FOUND = ("404 (Not Found)",)
"""What Chromium says of the page for what there is not."""
LONG = "x" * 100
LOOKS = (Look("light"), Look("dark"), Look("phone", phone=True))
PAGES = {
    "overview": "/",
    "limits": "/limits",
    "caller": "/callers/tenant-10m/=acme",
    "strange-caller": "/callers/tenant-10m/%23" + blake2b(EVIL.encode(), digest_size=16).hexdigest(),
    "connections": "/connections",
    "not-online": "/connections?state=!online",
    "connection": "/connections/conn_7?tenant=initech",
    "strange-connection": f"/connections/{quote(EVIL, safe='')}?tenant=umbrella",
    "breakers": "/breakers",
    "breaker": "/breakers/connection/=conn_7",
    "question": "/breakers/connection/=conn_7?hold=closed",
    "long-question": f"/breakers/connection/%23{blake2b(LONG.encode(), digest_size=16).hexdigest()}?hold=open&is={LONG}",
    "nothing": "/nothing",
}


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("visit", LOOKS, indirect=True, ids=str)
async def test_a_page(scene: Scene, visit: Visit, name: str) -> None:
    visit.expected = NOT_FOUND
    await visit.see(scene.admin + PAGES[name], name)
    assert await visit.barriers() == []
    assert not await visit.too_wide()
    assert await visit.page.evaluate("window.broken") is None


async def test_what_can_be_done_stands_beside_the_longest_name(own_scene: Scene, visit: Visit) -> None:
    target = f"{own_scene.admin}/-/breakers/connection/{'x' * 200}"
    async with own_scene.client.post(target, json={"state": "open", "ttl": "10m"}) as answer:
        assert answer.status == 200
    await visit.see(own_scene.admin)
    table = visit.page.locator("#breakers .scroll")
    await table.get_by_text("Give back").wait_for()
    assert await table.evaluate("table => table.scrollWidth <= table.clientWidth")


@pytest.mark.parametrize("visit", [Look("no-scripts", scripts=False)], indirect=True, ids=str)
async def test_without_scripts(scene: Scene, visit: Visit) -> None:
    visit.expected = NOT_FOUND
    for name, path in PAGES.items():
        await visit.see(scene.admin + path, name)
        refreshes = visit.page.locator("meta[http-equiv=refresh]")
        assert await refreshes.count() == (name not in ("question", "long-question", "nothing")), name
    await visit.see(scene.admin)
    for name in ("figures", "minutes", "connections", "breakers", "limits", "callers", "store", "events"):
        assert await visit.page.locator(f"#{name}").is_visible(), name
    for text in ("conn_7", "auth required", "Give back", "By minute"):
        assert await visit.page.get_by_text(text).first.is_visible(), text
    assert not await visit.page.locator(".charts").is_visible()  # they would be empty


@pytest.mark.parametrize("visit", LOOKS, indirect=True, ids=str)
async def test_the_way_in(locked: Scene, visit: Visit) -> None:
    visit.expected = ("401 (Unauthorized)",)
    await visit.see(locked.admin + "/limits", "login")
    assert await visit.barriers() == []
