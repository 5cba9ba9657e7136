"""`builtin:echo` answers whatever it is sent."""

import json

from tests.app.conftest import Start

POLICY = """
upstreams: {sample: {url: "builtin:echo"}}
routes: [{name: all, upstream: sample}]
"""


async def test_a_value_that_is_no_utf8_is_shown_as_escapes(start: Start) -> None:
    gateway = await start(POLICY)
    answer = await gateway.raw(
        b"GET /hello HTTP/1.1\r\nHost: a\r\nX-Tenant-Id: caf\xc3\xa9 \xff\r\nConnection: close\r\n\r\n"
    )
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert json.loads(body)["headers"]["X-Tenant-Id"] == "café \\xff"
