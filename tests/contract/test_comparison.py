"""The patterns on which well-known limiters let too much through, or too little, on the script of this one.

Ten minutes of a client's calls pass in one pipelined batch: the times are passed in.
"""

from collections.abc import Iterable

import pytest
import redis

from gateway.core.ask import Ask
from gateway.core.limits import Charge, Limit
from gateway.store.scripts.limits import ADMIT_ARGV, encode_admit
from gateway.store.scripts.sources import ADMIT
from tests.contract.counters import PREFIX, Scripts
from tests.contract.test_timelines import SECOND, START, bucket, fixed, rolling

WINDOW = 600 * SECOND


def admitted_times(server: "redis.Redis", limit: Limit, tries_us: Iterable[int]) -> list[int]:
    """Which tries were admitted. Microseconds since the start, which is a border of ten-minute windows."""
    Scripts(server)
    tries_us = list(tries_us)
    with server.pipeline(transaction=True) as pipe:
        for at_us in tries_us:
            arguments = encode_admit(Ask([Charge(limit, "k", 1)]), "", prefix=PREFIX, commit=True, now_us=START + at_us)
            pipe.execute_command("EVALSHA", ADMIT.sha1_hex, *arguments)
        replies = pipe.execute()
    return [at_us for at_us, reply in zip(tries_us, replies, strict=True) if reply[0]]


def worst(times_us: list[int], span_us: int = WINDOW) -> int:
    """The most calls in any half-open span."""
    most = first = 0
    for last, at_us in enumerate(times_us):
        while times_us[first] <= at_us - span_us:
            first += 1
        most = max(most, last - first + 1)
    return most


def burst_then_steady() -> list[int]:
    """700 tries at the last second of a window, then one every quarter of a second until the next window ends."""
    burst = [WINDOW - SECOND + number * 1000 for number in range(700)]
    return burst + [WINDOW + number * SECOND // 4 for number in range(4 * 599)]


@pytest.mark.parametrize("precision", [0, 60, 7, 1])
def test_burst_at_a_border_then_steady(server: "redis.Redis", precision: int) -> None:
    admitted = admitted_times(server, rolling(quota=500, precision=precision), burst_then_steady())
    assert worst(admitted) == 500


@pytest.mark.parametrize(
    ("limit", "lets_through"),
    [(fixed(quota=500, window_us=WINDOW), 1000), (bucket(burst=500, rate=500, per_us=WINDOW), 999)],
    ids=["fixed window", "token bucket"],
)
def test_the_pattern_finds_out_what_is_no_rolling_window(
    server: "redis.Redis", limit: Limit, lets_through: int
) -> None:
    """The control: the same pattern and the same count on limiters known to let twice as much through."""
    assert worst(admitted_times(server, limit, burst_then_steady())) == lets_through


def test_an_idle_client_does_not_get_a_full_window_back(server: "redis.Redis") -> None:
    """500 tries at once, and again after every three seconds of rest, for two minutes."""
    tries = [start * SECOND + number * 1000 for start in range(0, 120, 3) for number in range(500)]
    assert len(admitted_times(server, rolling(quota=500), tries)) == 500


def test_a_client_at_twice_its_rate_gets_its_rate(server: "redis.Redis") -> None:
    """5 a second allowed, 10 a second tried for ten seconds: five in every second."""
    tries = [number * SECOND // 10 for number in range(100)]
    admitted = admitted_times(server, rolling(quota=5, window_us=SECOND), tries)
    assert [sum(at_us // SECOND == second for at_us in admitted) for second in range(10)] == [5] * 10
    assert worst(admitted, SECOND) == 5


def test_no_gateway_tells_the_time(server: "redis.Redis") -> None:
    """Gateways whose clocks differ cannot matter: what they send does not depend on a clock."""
    Scripts(server)
    charge = Charge(rolling(quota=100), "k", 1)
    arguments = encode_admit(Ask([charge]), "", prefix=PREFIX, commit=True)
    assert dict(zip(ADMIT_ARGV, arguments[2:], strict=False)) == {
        "op": "admit",
        "now_us": 0,
        "lease": "",
        "guards": b"",
    }
    with server.pipeline(transaction=False) as pipe:
        for _ in range(2000):
            pipe.execute_command("EVALSHA", ADMIT.sha1_hex, *arguments)
        assert sum(reply[0] for reply in pipe.execute()) == 100
