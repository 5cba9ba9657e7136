"""How a fleet's cost and accuracy grow: pure functions of measured figures, by the gateway's own rules.

Nothing here is measured and nothing is random: draws come from seeds, so each figure is the same in every run.
"""

import math
import random
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gateway.admit import REMEMBER_S
from gateway.core.algorithms.rolling_window import Log
from gateway.core.limits import Algorithm, Limit
from gateway.core.shares import Fleet, part, place_of
from gateway.store.outage.heartbeat import BEAT_S, MOST_BEATS_A_SECOND

GIB = 2**30
Inputs = dict[str, Any]


@dataclass(frozen=True)
class Deployment:
    """A fleet, its load and its servers.

    calls_per_s   of the whole fleet, all admitted
    busy          the most of a server's one thread that decisions may use
    memory_bytes  the most that the keys of one server may take
    """

    gateways: int
    callers: int
    workers_each: int = 4
    calls_per_s_each: int = 1_000
    busy: float = 0.5
    memory_bytes: int = 12 * GIB

    @property
    def workers(self) -> int:
        return self.gateways * self.workers_each

    @property
    def calls_per_s(self) -> int:
        return self.gateways * self.calls_per_s_each

    def store_cores(self, inputs: Inputs) -> float:
        """How many servers' threads decisions keep busy, when each comes alone."""
        return self.calls_per_s * float(inputs["decision_us"]["admitted, 1 together"]) / 1e6

    def gateway_cores(self, inputs: Inputs) -> float:
        return self.calls_per_s * float(inputs["gateway_us"]["admitted"]) / 1e6

    def key_bytes(self, inputs: Inputs) -> float:
        """Each caller has a window that holds few calls, and a bucket."""
        kinds = inputs["key_bytes"]
        return self.callers * float(kinds["rolling_window, 1 call"] + kinds["token_bucket, 1 call"])

    def shards(self, inputs: Inputs) -> int:
        """Servers that are needed: for the decisions, and for the keys."""
        cpu = (self.store_cores(inputs) + self.heartbeat_cores(inputs)) / self.busy
        return max(1, math.ceil(cpu), math.ceil(self.key_bytes(inputs) / self.memory_bytes))

    def connection_bytes(self, inputs: Inputs) -> float:
        """Memory of one server for its connections: every worker has one to each server."""
        return self.workers * float(inputs["connection_bytes"])

    def heartbeat_cores(self, inputs: Inputs) -> float:
        """Of the one server that has the heartbeats."""
        beats_per_s = min(self.workers / BEAT_S, MOST_BEATS_A_SECOND)
        return beats_per_s * _at_least(inputs["heartbeat_us"], self.workers) / 1e6

    def returning_s(self, inputs: Inputs) -> float:
        """For how long one server is busy with workers that all connect to it again."""
        return self.workers * float(inputs["link_us"]) / 1e6

    def refused_cores(self, inputs: Inputs) -> float:
        """Of the one server that has the key of a caller who is refused everywhere: each worker asks again after a
        while, however many calls it refuses meanwhile."""
        return self.workers / REMEMBER_S * float(inputs["decision_us"]["refused, 1 together"]) / 1e6


def _at_least(by_size: dict[str, float], size: int) -> float:
    """The figure of the smallest measured size that is not below; of the largest, if none is."""
    sizes = sorted(map(int, by_size))
    return float(by_size[str(sizes[min(len(sizes) - 1, bisect_left(sizes, size))])])


# -- hot keys


def hottest_share(callers: int, skew: float) -> float:
    """The part of all calls that the most active caller makes: the n-th is n ** skew times less active (Zipf)."""
    return 1 / _harmonic(callers, skew)


def _harmonic(count: int, skew: float, exact: int = 100_000) -> float:
    head = sum(n**-skew for n in range(1, min(count, exact) + 1))
    if count <= exact:
        return head
    if skew == 1:
        return head + math.log(count / exact)
    return head + (count ** (1 - skew) - exact ** (1 - skew)) / (1 - skew)


def busiest_shard(callers: int, shards: int, skew: float, head: int = 100_000) -> float:
    """How much more than its part the busiest server gets. The most active callers go each to some server; the others
    are so many that each server has its part of them."""
    draw, loads = random.Random(1), [0.0] * shards
    total, active = _harmonic(callers, skew), min(callers, head)
    for n in range(1, active + 1):
        loads[draw.randrange(shards)] += n**-skew / total
    rest = 1 - sum(loads)
    return (max(loads) + rest / shards) * shards


# -- waiting


def waits_us(busy: float, service_us: float, count: int = 100_000) -> tuple[float, float]:
    """(median, 99th percentile) of what a decision waits behind others on one server, arrivals being independent."""
    draw, free_us, now_us, waits = random.Random(1), 0.0, 0.0, []
    for _ in range(count):
        now_us += draw.expovariate(busy / service_us)
        waits.append(max(0.0, free_us - now_us))
        free_us = max(free_us, now_us) + service_us
    waits.sort()
    return waits[count // 2], waits[count * 99 // 100]


# -- accuracy


def seen_by_the_upstream(gateways: int, spread_s: float, *, limit: int, window_s: float) -> tuple[int, int]:
    """(most decided, most arrived) in any window, when calls come at three times the limit through so many gateways and
    each takes up to `spread_s` longer than others from its decision to the upstream."""
    rule = Limit("w", Algorithm.ROLLING_WINDOW, limit, round(window_s * 1e6), ())
    draw, log, decided, arrived, now_us = random.Random(1), Log(), [], [], 0
    slowness = [draw.uniform(0, spread_s / 2) for _ in range(gateways)]
    while now_us < 6 * rule.window_us:
        now_us += round(draw.expovariate(3 * limit / window_s) * 1e6) + 1
        if log.retry_us(rule, 1, now_us) == 0:
            log = log.charged(rule, 1, now_us, "")
            decided.append(now_us / 1e6)
            arrived.append(now_us / 1e6 + draw.choice(slowness) + draw.uniform(0, spread_s / 2))
    return _most_in_any(decided, window_s), _most_in_any(arrived, window_s)


def _most_in_any(times_s: Sequence[float], window_s: float) -> int:
    times = sorted(times_s)
    return max(bisect_left(times, start + window_s) - at for at, start in enumerate(times))


def usable_without_store(limit: int, workers: int, met: int, callers: int = 200) -> float:
    """The part of its limit that a caller can use while the store is away, if its calls meet so many of the workers.
    The mean of some callers, by the shares that the gateway really gives."""
    draw, total = random.Random(1), 0
    for number in range(callers):
        for rank in draw.sample(range(workers), min(met, workers)):
            place = place_of(f"w:{{=caller-{number}}}", Fleet(workers, rank))
            total += part(limit, workers, place)
    return total / callers / limit
