"""The dashboard in a real Chromium, of a gateway with two workers that has seen good and bad days.

`GATEWAY_SCREENSHOTS=some/directory` keeps a picture of every page in every look. `GATEWAY_TEST_CHROMIUM` names another
browser than `chromium`.
"""

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from tests.browser.scene import TOKEN, Scene, staged
from tests.browser.visit import Look, Visit


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One event loop for all: the browser and the gateway are started once."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    binary = shutil.which(os.environ.get("GATEWAY_TEST_CHROMIUM", "chromium"))
    assert binary, "these tests need Debian's chromium: apt-get install chromium"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=binary, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    """A gateway that nobody changes."""
    async with staged(tmp_path_factory.mktemp("scene")) as scene:
        await scene.bad_day()
        yield scene


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def locked(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    """A gateway whose admin listener wants a token."""
    async with staged(tmp_path_factory.mktemp("locked"), token=TOKEN) as scene:
        yield scene


@pytest_asyncio.fixture(loop_scope="session")
async def own_scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """A gateway for this test alone."""
    async with staged(tmp_path) as scene:
        yield scene


@pytest_asyncio.fixture(loop_scope="session")
async def visit(browser: Browser, request: pytest.FixtureRequest) -> AsyncIterator[Visit]:
    """A browser window; parametrized indirectly by a look."""
    look = getattr(request, "param", Look("light"))
    async with await browser.new_context(**look.options()) as context:
        context.set_default_timeout(30_000)
        visit = Visit(look, context, await context.new_page())
        yield visit
        assert visit.complaints == []
