"""Somebody who looks at pages, in one of several ways, and does not put up with everything."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import BrowserContext, ConsoleMessage, Page, Request

PICTURES = os.environ.get("GATEWAY_SCREENSHOTS")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
CONTRAST = "color-contrast"


@dataclass(frozen=True)
class Look:
    """How a page is looked at."""

    name: str
    phone: bool = False
    scripts: bool = True

    def options(self) -> dict[str, Any]:
        size = {"width": 360, "height": 740} if self.phone else {"width": 1360, "height": 900}
        return {
            "viewport": size,
            "is_mobile": self.phone,
            "has_touch": self.phone,
            "color_scheme": "dark" if self.name.startswith("dark") else "light",
            "java_script_enabled": self.scripts,
        }

    def axe(self) -> dict[str, Any]:
        """What axe-core looks for. Contrast takes most of its time, and dark differs in nothing else."""
        if self.name == "dark":
            return {"runOnly": {"type": "rule", "values": [CONTRAST]}}
        return {"runOnly": RULES, "rules": {CONTRAST: {"enabled": not self.phone}}}

    def __str__(self) -> str:
        return self.name


@dataclass
class Visit:
    """One window.

    complaints  what a browser says in its console, and what was asked of somebody else
    streams  those that are open
    """

    look: Look
    context: BrowserContext
    page: Page
    complaints: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()
    streams: set[Request] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("request", self._asked)
        self.page.on("requestfailed", lambda request: self.streams.discard(request))

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(one in message.text for one in self.expected):
            self.complaints.append(f"{message.type}: {message.text}")

    def _asked(self, request: Request) -> None:
        if urlsplit(request.url).hostname != "127.0.0.1":
            self.complaints.append(f"asked {request.url}")
        if request.resource_type == "eventsource":
            self.streams.add(request)

    async def see(self, url: str, name: str = "") -> None:
        """Go there, and wait until it is shown whole. With a name a picture is kept, if pictures are wanted."""
        await self.page.goto(url)
        if self.look.scripts:
            await self.page.wait_for_function("!document.querySelector('[data-chart]:not(.drawn)')")
            if await self.page.locator("[data-stream], [data-refresh]").count():
                await self.page.locator("#link.live").wait_for()
        await self.picture(name)

    async def picture(self, name: str) -> None:
        if PICTURES and name:
            path = Path(PICTURES) / f"{name}-{self.look}.png"
            await self.page.screenshot(path=path, full_page=True)

    async def barriers(self) -> list[str]:
        """What keeps people from using the page, as axe-core finds it."""
        found = await Axe().run(self.page, options=self.look.axe())
        return [
            f"{one['id']}: {node['target']} {node['failureSummary']}"
            for one in found.response["violations"]
            for node in one["nodes"]
        ]

    async def too_wide(self) -> bool:
        """Whether the page as a whole scrolls sideways. `innerWidth` does not tell: phones shrink what is too wide."""
        screen = self.page.viewport_size
        assert screen is not None
        return int(await self.page.evaluate("document.documentElement.scrollWidth")) > screen["width"]
