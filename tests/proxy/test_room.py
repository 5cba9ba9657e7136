"""For how many callers' sockets a worker has files. What becomes of the others: `files` in test_abuse.py."""

import resource
from collections.abc import Iterator
from dataclasses import replace
from typing import Never

import pytest

from gateway.listener.listener import Listener
from gateway.listener.room import allow_open_files, room_for
from gateway.settings import Bounds

SOFT, HARD = resource.getrlimit(resource.RLIMIT_NOFILE)
BOUNDS = Bounds(sockets=500, calls_in_flight=300)


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT, HARD))


@pytest.mark.parametrize(
    ("files", "bounds", "sockets"),
    [
        (1024, BOUNDS, 468),  # 768 without the spare ones, and 300 of them to upstreams
        (1024, replace(BOUNDS, calls_in_flight=10_000), 384),  # a call has a caller
        (1024, replace(BOUNDS, sockets=100), 100),
        (256, BOUNDS, 96),
        (3, BOUNDS, 1),
    ],
)
def test_two_files_a_call_and_one_for_who_waits(files: int, bounds: Bounds, sockets: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, HARD))
    assert room_for(bounds) == sockets


def test_the_soft_limit_is_raised_but_never_lowered() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, HARD))
    allow_open_files(replace(BOUNDS, sockets=20, calls_in_flight=10))
    raised, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert (raised, hard) == (20 + 10 + 1_000, HARD)
    allow_open_files(replace(BOUNDS, sockets=1, calls_in_flight=1))
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (raised, HARD)


async def test_bounds_that_come_with_a_reload_get_their_files_too() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, HARD))
    listener = Listener(replace(BOUNDS, calls_in_flight=10), _uncalled, _uncalled)
    more = replace(BOUNDS, sockets=2_000, calls_in_flight=2_000)
    assert room_for(more) < 2_000
    listener.use(more)
    assert room_for(more) == 2_000


def _uncalled(*_: object) -> Never:
    raise AssertionError("nobody connects")
