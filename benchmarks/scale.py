"""How cost and accuracy grow to a thousand gateways and a hundred million callers: `python -m benchmarks.scale`.

A simulation of seconds, the same in every run, from the figures in `scale_inputs.json` (`python -m
benchmarks.scale_inputs` measures them anew). `--write` puts the tables into `docs/scale.md` and draws its plot.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks import svg
from benchmarks.scale_inputs import FILE
from benchmarks.scale_model import (
    GIB,
    Deployment,
    Inputs,
    busiest_shard,
    hottest_share,
    seen_by_the_upstream,
    usable_without_store,
    waits_us,
)

PAGE = Path(__file__).parents[1] / "docs" / "scale.md"
FLEETS = tuple(Deployment(gateways, gateways * 100_000) for gateways in (1, 10, 100, 1_000))
SKEWS = (0.8, 1.0)
LIMIT, WINDOW_S = 500, 600.0


def costs(inputs: Inputs) -> list[list[str]]:
    """What each fleet needs."""
    columns: dict[str, Callable[[Deployment], str]] = {
        "gateways × workers": lambda one: f"{one.gateways:,} × {one.workers_each}",
        "calls/s": lambda one: f"{one.calls_per_s:,}",
        "callers": lambda one: f"{one.callers:,}",
        "gateway cores": lambda one: f"{one.gateway_cores(inputs):.2f}",
        "store cores": lambda one: f"{one.store_cores(inputs):.2f}",
        "keys": lambda one: f"{one.key_bytes(inputs) / GIB:.1f} GiB",
        "primaries": lambda one: f"{one.shards(inputs)}",
    }
    return _columns(columns)


def links(inputs: Inputs) -> list[list[str]]:
    """What the fleet's connections and heartbeats are to one primary."""
    columns: dict[str, Callable[[Deployment], str]] = {
        "gateways × workers": lambda one: f"{one.gateways:,} × {one.workers_each}",
        "connections to each primary": lambda one: f"{one.workers:,}",
        "their memory": lambda one: f"{one.connection_bytes(inputs) / 2**20:.0f} MiB",
        "connections in all": lambda one: f"{one.workers * one.shards(inputs):,}",
        "heartbeats": lambda one: f"{100 * one.heartbeat_cores(inputs):.2f} % of one primary",
        "taking all back after an outage": lambda one: f"{one.returning_s(inputs):.2f} s",
    }
    return _columns(columns)


def _columns(columns: Mapping[str, Callable[[Deployment], str]]) -> list[list[str]]:
    return [list(columns), *([cell(one) for cell in columns.values()] for one in FLEETS)]


def hot(inputs: Inputs) -> list[list[str]]:
    """What single callers do to single servers."""
    heads = [f"most active caller, Zipf {skew}" for skew in SKEWS]
    busiest = [f"busiest primary, Zipf {skew}" for skew in SKEWS]
    rows = [["callers", "primaries", *heads, *busiest, "a caller refused everywhere"]]
    for one in FLEETS:
        shards = one.shards(inputs)
        rows.append(
            [
                f"{one.callers:,}",
                f"{shards}",
                *(f"{one.calls_per_s * hottest_share(one.callers, skew):,.0f} calls/s" for skew in SKEWS),
                *(f"{busiest_shard(one.callers, shards, skew):.2f} ×" for skew in SKEWS),
                f"{100 * one.refused_cores(inputs):.1f} % of its primary",
            ]
        )
    return rows


def waiting(inputs: Inputs) -> list[list[str]]:
    """What decisions wait behind others."""
    service_us = float(inputs["decision_us"]["admitted, 1 together"])
    rows = [["primary busy", "decisions/s", "wait p50", "wait p99"]]
    for busy in (0.1, 0.3, 0.5, 0.7, 0.9):
        p50_us, p99_us = waits_us(busy, service_us)
        rows.append([f"{busy:.0%}", f"{busy * 1e6 / service_us:,.0f}", f"{p50_us:.0f} µs", f"{p99_us:.0f} µs"])
    return rows


def accuracy() -> list[list[str]]:
    """What an upstream sees that keeps its own count."""
    spreads_s = (0.01, 0.1, 1.0)
    rows = [["gateways", "decided", *(f"arrived, ways differ by {spread_s * 1000:g} ms" for spread_s in spreads_s)]]
    for gateways in (1, 10, 100, 1_000):
        seen = [seen_by_the_upstream(gateways, s, limit=LIMIT, window_s=60.0) for s in spreads_s]
        rows.append([f"{gateways:,}", f"{seen[0][0]}", *(f"{arrived}" for _, arrived in seen)])
    return rows


def shares() -> list[list[str]]:
    """What a caller can use of its limit while the store is away."""
    met = (1, 8, 64, 4_000)
    rows = [["limit", "workers alive", *(f"meets {count:,}" for count in met)]]
    for limit in (10, 500):
        for workers in (4, 40, 400, 4_000):
            used = [usable_without_store(limit, workers, count) for count in met]
            rows.append([f"{limit:,}", f"{workers:,}", *(f"{one:.1%}" for one in used)])
    return rows


def plot(inputs: Inputs) -> str:
    """How what a fleet needs grows with it."""
    names = [f"{one.gateways:,}" for one in FLEETS]

    def line(title: str, values: Sequence[float]) -> svg.Line:
        return svg.Line(title, list(zip(names, values, strict=True)))

    return svg.lines(
        [
            line("store cores", [one.store_cores(inputs) for one in FLEETS]),
            line("Redis primaries", [one.shards(inputs) for one in FLEETS]),
            line("connections to each", [one.workers for one in FLEETS]),
            line("memory of keys, GiB", [one.key_bytes(inputs) / GIB for one in FLEETS]),
            line("heartbeats, % of a core", [100 * one.heartbeat_cores(inputs) for one in FLEETS]),
            line("caller refused everywhere, % of a core", [100 * one.refused_cores(inputs) for one in FLEETS]),
        ],
        "by gateways",
    )


def tables(inputs: Inputs) -> dict[str, list[list[str]]]:
    """Each part of the page by its name."""
    return {
        "inputs": _inputs(inputs),
        "costs": costs(inputs),
        "links": links(inputs),
        "hot": hot(inputs),
        "waiting": waiting(inputs),
        "accuracy": accuracy(),
        "shares": shares(),
    }


def _inputs(inputs: Inputs) -> list[list[str]]:
    rows = [["measured", ""]]
    rows += [[f"a decision, {how}", f"{us:g} µs of the server's CPU"] for how, us in inputs["decision_us"].items()]
    rows += [[f"a heartbeat among {int(n):,} workers", f"{us:g} µs"] for n, us in inputs["heartbeat_us"].items()]
    rows += [[f"a caller's key: {kind}", f"{size:,.0f} bytes"] for kind, size in inputs["key_bytes"].items()]
    rows += [["a connection", f"{inputs['connection_bytes']:,.0f} bytes"]]
    rows += [["a worker that connects, with its scripts", f"{inputs['link_us']:g} µs"]]
    rows += [["what is sent for a call", f"{inputs['question_bytes']} bytes"]]
    return rows + [[f"a call in the gateway, {how}", f"{us:g} µs"] for how, us in inputs["gateway_us"].items()]


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table; the first row is its head."""
    head, *rest = rows
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rest))


def written(page: str, found: dict[str, list[list[str]]]) -> str:
    """The page with each table between its two marks."""
    for name, rows in found.items():
        before, start, rest = page.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- end of {name} -->")
        page = before + start + markdown(rows) + "\n" + end + after
    return page


def main() -> None:
    """Show, and write if asked to."""
    inputs: Inputs = json.loads(FILE.read_text())
    found = tables(inputs)
    for name, rows in found.items():
        print(f"\n{name}\n\n{markdown(rows)}")
    if "--write" in sys.argv[1:]:
        PAGE.write_text(written(PAGE.read_text(), found))
        PAGE.with_name("scale.svg").write_text(plot(inputs))


if __name__ == "__main__":
    main()
