"""What these runs share: fleets of gateways, upstreams that keep a ledger, and the figures told at the end."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.outage import TIMEOUT_S, Outage, policies
from tests.chaos.stage import WORKERS, Stage
from tests.fakes.gateways import Launch, launching
from tests.fakes.ledger import Ledger
from tests.fakes.load import Load
from tests.fakes.redis_server import RedisServer

FIGURE = "figure"
_figures: list[str] = []
PATIENCE_S = 300


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """These take longer than the tests of the default run may, and some say themselves how long."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(PATIENCE_S))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Where the report is written, which need not be the process in which the test ran."""
    if report.when == "teardown":
        _figures.extend(str(text) for name, text in report.user_properties if name == FIGURE)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if _figures:
        terminalreporter.section("figures")
        for line in _figures:
            terminalreporter.write_line(line)


Figures = Callable[..., None]


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    """`figures("kill -9", calls=3000, failed=0)`: one line of the report. Told, not judged."""

    def tell(what: str, **values: object) -> None:
        shown = (f"{value:.1f}" if isinstance(value, float) else str(value) for value in values.values())
        text = "  ".join(f"{name.replace('_', ' ')} {value}" for name, value in zip(values, shown, strict=True))
        request.node.user_properties.append((FIGURE, f"{what:44} {text}"))

    return tell


Fleet = Launch


@pytest.fixture
async def fleet(tmp_path: Path, own_redis_server: RedisServer) -> AsyncIterator[Fleet]:
    """`await fleet(policies, "--workers", "2")`: one more gateway on the test's own server; ended with the test."""
    async with launching(tmp_path, own_redis_server.url) as launch:
        yield launch


@pytest.fixture
async def ledger() -> AsyncIterator[Ledger]:
    """An upstream that notes what came when."""
    async with Ledger() as upstream:
        yield upstream


@pytest.fixture
async def stage(fleet: Fleet, ledger: Ledger) -> Stage:
    """`async with stage() as outage`: the body is what happens to the store, under constant load.

    gateways   among which the WORKERS are divided
    timeout_s  of the store
    """

    @asynccontextmanager
    async def begin(gateways: int = 1, timeout_s: float = TIMEOUT_S, **options: Any) -> AsyncIterator[Outage]:
        text, workers, patience = policies(ledger.url), str(WORKERS // gateways), f"{timeout_s * 1000:g}ms"
        started = [await fleet(text, "--workers", workers, patience=patience, **options) for _ in range(gateways)]
        async with Load([one.port for one in started], sockets=64) as load:
            outage = Outage(load, ledger, started)
            async with outage.under_load():
                yield outage
        for one in started:
            await one.stop()  # what it had to say is said

    return begin
