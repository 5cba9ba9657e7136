"""The proxy under attack and under load: the fixtures of `tests/app`, on the loop the gateway really runs on too."""

from tests.app.conftest import gateway, pytest_asyncio_loop_factories, start, upstream

__all__ = ["gateway", "pytest_asyncio_loop_factories", "start", "upstream"]
