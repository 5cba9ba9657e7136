"""Heads that fall out of the memory of heads are gone at once: in a worker the collector seldom runs."""

import asyncio
import gc

import pytest

from gateway.wire import request_head
from gateway.wire.request_head import RequestHeadParser
from tests.fakes.collector import no_collector

HEADS = 500


@pytest.mark.parametrize(
    "head",
    [
        pytest.param("GET /{0} HTTP/1.1\r\nHost: a\r\nX-Tenant: t{0}\r\n\r\n", id="remembered for a while"),
        pytest.param("GET /{0} HTTP/1.1\r\nHost: a\r\nX-Long: {0:03000}\r\n\r\n", id="too long to be remembered"),
    ],
)
async def test_what_is_no_longer_remembered_needs_no_collector(head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_head, "MEMO_FIELDS", 50)
    parser = RequestHeadParser(asyncio.get_running_loop())
    with no_collector():
        for number in range(HEADS):
            parser.read(head.format(number).encode())
        assert gc.collect() < HEADS
