"""What a decision costs the server: CPU microseconds, as the server itself counts them.

    python benchmarks/limits_cost.py [--decisions 300] [--rounds 40]

For each server that is to be had, commands are sent in pipelines of --decisions; INFO commandstats gives the time spent
in each. The smallest and the median of the rounds are shown: on a busy machine only the smallest means much.
"""

import argparse
import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace

import redis

from benchmarks.limits_server import BREAKER, BUCKET, FIXED, PARALLEL, ROLLING, WINDOW, admit, servers, several
from gateway.store.scripts.limits import Argument

Make = Callable[[int], list[Argument]]
WIDE_ROLLING = replace(ROLLING, quota=1_000_000)
WIDE_BUCKET = replace(BUCKET, quota=1_000_000)
WIDE_PARALLEL = replace(PARALLEL, quota=100_000)

AT_ONCE = (4, 16)
"""So many calls of one turn of a worker's loop are one EVALSHA, where the same limits are asked."""


def _hot(_: int) -> list[Argument]:
    return admit((WIDE_ROLLING, "a"), (WIDE_BUCKET, "a"))


def _guarded(caller: object) -> list[Argument]:
    breaker = BREAKER._replace(key=f"breaker:vendor:{{={caller}}}")
    return admit((WIDE_ROLLING, caller), (WIDE_BUCKET, caller), guards=(breaker,))


CASES: list[tuple[str, Make]] = [
    ("rolling window + bucket, admitted, one hot tenant", _hot),
    ("rolling window + bucket + breaker, admitted", lambda _: _guarded("a")),
    ("rolling window + bucket, admitted, new callers", lambda i: admit((ROLLING, i), (BUCKET, i))),
    ("rolling window + bucket, refused", lambda _: admit((ROLLING, "a"), (BUCKET, "a"))),
    (
        "rolling window, full, one call expires per call",
        lambda i: admit((ROLLING, "a"), now_us=10**15 + i * WINDOW // 490),
    ),
    ("token bucket", lambda i: admit((BUCKET, i % 100))),
    ("fixed window", lambda i: admit((FIXED, i % 100))),
    ("concurrency", lambda i: admit((WIDE_PARALLEL, i % 100), lease=f"{i:012}")),
]


def microseconds(client: "redis.Redis", make: Make, decisions: int, rounds: int) -> list[float]:
    """Server time per decision in each round."""
    client.flushall()
    spent = []
    for number in range(rounds):
        with client.pipeline(transaction=False) as pipe:
            for i in range(number * decisions, (number + 1) * decisions):
                pipe.execute_command(*make(i))
            client.config_resetstat()
            pipe.execute()
        spent.append(client.info("commandstats")["cmdstat_evalsha"]["usec_per_call"])
    return spent


def _rows(client: "redis.Redis", decisions: int, rounds: int) -> Iterator[tuple[str, list[float]]]:
    for title, make in CASES:
        yield title, microseconds(client, make, decisions, rounds)
    for count in AT_ONCE:
        one, many = several([_guarded("a")], count), several([_guarded(caller) for caller in range(count)], 1)
        for whose, command in (("one tenant", one), ("as many tenants", many)):
            spent = microseconds(client, lambda _, command=command: command, decisions, rounds)  # type: ignore[misc]
            yield f"the same, {count} at once of {whose}", [us / count for us in spent]


def measured(decisions: int, rounds: int) -> list[dict[str, str | float]]:
    """One row for each server and case: microseconds per decision, the smallest and the median of the rounds."""
    rows: list[dict[str, str | float]] = []
    with servers() as found:
        for name, client in found:
            for title, spent in _rows(client, decisions, rounds):
                rows.append({"server": name, "case": title, "least_us": min(spent), "us": statistics.median(spent)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decisions", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    print(f"{'':78} smallest  median  µs")
    for row in measured(options.decisions, options.rounds):
        print(f"{row['server']:14}  {row['case']:62} {row['least_us']:8.2f} {row['us']:7.2f}")


if __name__ == "__main__":
    main()
