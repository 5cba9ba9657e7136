"""What is sent, and to which policy, when the cost of a call is counted."""

import itertools
import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

from benchmarks.policy import WIDE_OPEN, everything_on, with_limits, with_routes

TENANTS = 20
ROUTES = 1000
LARGE_BYTES = 256 * 1024


def plain() -> Iterator[bytes]:
    """The same short GET again and again, as load generators send it."""
    return itertools.repeat(
        b"GET /v1/items?x=1 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nX-Tenant: t1\r\nX-Connection: c1\r\n\r\n"
    )


def varied() -> Iterator[bytes]:
    """What clients send: many fields, and no two heads alike."""
    for number in itertools.count():
        tenant = number % TENANTS
        yield (
            f"GET /v1/items/{number:08d}?page={number:08d} HTTP/1.1\r\nHost: api.example.com\r\n"
            "User-Agent: integration/4.2 (+https://example.com)\r\nAccept: application/json\r\n"
            "Accept-Encoding: gzip, deflate, br\r\nAccept-Language: en\r\nAuthorization: Bearer 0123456789abcdef\r\n"
            f"Cache-Control: no-cache\r\nX-Tenant: t{tenant:02d}\r\nX-Connection: c{tenant:02d}\r\n"
            f"X-Request-Id: req-{number:012d}\r\n"
            f"traceparent: 00-0af7651916cd43dd8448eb21{number:08x}-b7ad6b71{number:08x}-01\r\n\r\n"
        ).encode()


def upload() -> Iterator[bytes]:
    """A POST whose 4 KiB arrive together with the head."""
    return itertools.repeat(
        b"POST /v1/items HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nX-Tenant: t1\r\nX-Connection: c1\r\n"
        b"Content-Type: application/json\r\nContent-Length: 4096\r\n\r\n" + b"x" * 4096
    )


def every_route() -> Iterator[bytes]:
    """A hundred of a thousand routes in turn, the last ones of the file."""
    for number in itertools.cycle(range(ROUTES - 100, ROUTES)):
        head = f"GET /r{number}/items HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nX-Tenant: t1\r\nX-Connection: c1\r\n\r\n"
        yield head.encode()


def strangers() -> Iterator[bytes]:
    """Nobody calls twice."""
    for number in itertools.count():
        yield _of_tenant(number, number)


def crowd(tenants: int) -> Callable[[], Iterator[bytes]]:
    """So many tenants in random order, each call with a line of its own."""

    def heads() -> Iterator[bytes]:
        chance = random.Random(1)
        return (_of_tenant(chance.randrange(tenants), number) for number in itertools.count())

    return heads


def _of_tenant(tenant: int, number: int) -> bytes:
    return (
        f"GET /v1/items?call={number} HTTP/1.1\r\nHost: api.example.com\r\n"
        f"X-Tenant: t{tenant}\r\nX-Connection: c{tenant}\r\n\r\n"
    ).encode()


def large_upload() -> Iterator[bytes]:
    """A POST of 256 KiB."""
    return itertools.repeat(
        b"POST /v1/items HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nX-Tenant: t1\r\nX-Connection: c1\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (LARGE_BYTES, b"x" * LARGE_BYTES)
    )


class Scenario(NamedTuple):
    """What is sent and answered, how much a tenant may, the policy, after how many calls all is as it will stay, and
    how many calls come at once."""

    heads: Callable[[], Iterator[bytes]]
    limit: int = WIDE_OPEN
    policy: Callable[[str, int], str] = everything_on
    answer_bytes: int = 1011
    warm_up: int = 240
    at_once: int = 1

    @property
    def policy_file(self) -> str:
        return self.policy("127.0.0.1:9", self.limit)


SCENARIOS = {
    "admitted": Scenario(plain),
    "admitted-varied": Scenario(varied),
    "admitted-upload": Scenario(upload),
    "admitted-1000-routes": Scenario(every_route, policy=with_routes(ROUTES)),
    "admitted-strangers": Scenario(strangers),
    "large-upload": Scenario(large_upload),
    "large-answer": Scenario(plain, answer_bytes=LARGE_BYTES),
    "admitted-20-limits": Scenario(plain, policy=with_limits(20)),
    "admitted-12-at-once": Scenario(plain, at_once=12),
    "refused": Scenario(plain, 1),
    "refused-varied": Scenario(varied, 1),
}

CROWDS = {
    f"{tenants}-tenants": Scenario(crowd(tenants), warm_up=8 * tenants, at_once=12) for tenants in (1, 100, 10_000)
}
"""What these cost is memory that is touched, not instructions."""
