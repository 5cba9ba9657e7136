"""Tables of a results file, in Markdown."""

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.cost import STAGES
from benchmarks.results import Results

BY_STAGE = {
    "admitted, heads seen before": "admitted",
    "admitted, no two heads alike": "admitted-varied",
    "admitted, callers never seen before": "admitted-strangers",
    "refused, no two heads alike": "refused-varied",
}
"""Titles of columns, and the scenarios they are about."""
AGAINST = ("envoy-local", "nginx-lua-redis")
Rows = list[dict[str, Any]]


def groups(rows: Rows, *names: str) -> dict[tuple[Any, ...], Rows]:
    """Rows by the values of these columns, in the order of their first appearance."""
    found: dict[tuple[Any, ...], Rows] = {}
    for row in rows:
        found.setdefault(tuple(row[name] for name in names), []).append(row)
    return found


def median(rows: Rows, column: str) -> float:
    """Of one column."""
    return statistics.median(row[column] for row in rows)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))


def ratio(rows: Rows, base: Rows) -> str:
    """CPU as a multiple of another's: the median of the ratios of single rounds."""
    multiples = _multiples(rows, base)
    return f"{statistics.median(multiples):.2f}" if multiples else "–"


def _multiples(rows: Rows, base: Rows) -> list[float]:
    theirs = {row["round"]: row["cpu_us"] for row in base}
    return [row["cpu_us"] / theirs[row["round"]] for row in rows if row["round"] in theirs]


def middle_half(values: Sequence[float], digits: int) -> str:
    """The median, and between what the middle half of them lies."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [*values] * 3
    return f"{middle:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def table(found: Results) -> str:
    """CPU, throughput, latency under full load, memory and the store's CPU of every proxy."""
    runs = groups(found["table"], "profile", "heads", "peer")
    head = ["profile", "heads", "proxy", "CPU µs/call (min–max)", *(f"× {name}" for name in AGAINST)]
    head += ["calls/s", "p50 ms", "p99 ms", "MiB", "store µs"]
    lines = []
    for (profile, heads, peer), rows in runs.items():
        costs = [row["cpu_us"] for row in rows]
        line = [profile, heads, peer, f"{statistics.median(costs):.1f} ({min(costs):.1f}–{max(costs):.1f})"]
        line += [ratio(rows, runs.get((profile, heads, name), [])) for name in AGAINST]
        for column, digits in (("calls_per_s", 0), ("p50_ms", 2), ("p99_ms", 1), ("memory_mib", 0), ("store_us", 1)):
            line.append(f"{median(rows, column):,.{digits}f}")
        lines.append(line)
    return markdown(head, lines)


def ratios(found: Results) -> str:
    """The gateway's CPU as a multiple of each other proxy's: the median of the ratios of single rounds."""
    runs = groups(found["table"], "profile", "heads", "peer")
    peers = list(dict.fromkeys(peer for _, _, peer in runs if peer != "gateway"))
    lines = [
        [profile, heads, *(ratio(rows, runs.get((profile, heads, name), [])) for name in peers)]
        for (profile, heads, peer), rows in runs.items()
        if peer == "gateway"
    ]
    return markdown(["profile", "heads", *(f"× {name}" for name in peers)], lines)


def bodies(found: Results) -> str:
    """CPU of calls with bodies, and how many there were a second."""
    runs = groups(found["bodies"], "body", "peer")
    lines = []
    for (body, peer), rows in runs.items():
        costs = [row["cpu_us"] for row in rows]
        line = [body, peer, f"{statistics.median(costs):.1f} ({min(costs):.1f}–{max(costs):.1f})"]
        line += [ratio(rows, runs.get((body, name), [])) for name in AGAINST]
        lines.append([*line, f"{median(rows, 'calls_per_s'):,.0f}", f"{median(rows, 'memory_mib'):,.0f}"])
    head = ["body", "proxy", "CPU µs/call (min–max)", *(f"× {name}" for name in AGAINST), "calls/s", "MiB"]
    return markdown(head, lines)


def curves(found: Results) -> str:
    """CPU at each point, and as a multiple of the curve's first point in the same round of slices."""
    lines = []
    firsts: dict[str, Rows] = {}
    for (curve, x), rows in groups(found["curves"], "curve", "x").items():
        first = firsts.setdefault(curve, rows)
        cost = middle_half([row["cpu_us"] for row in rows], 1)
        multiple = "1.00" if rows is first else middle_half(_multiples(rows, first), 2)
        lines.append([curve, f"{x:,}", cost, multiple, f"{median(rows, 'store_us'):.1f}"])
    return markdown(["curve", "x", "CPU µs/call (middle half)", "× first (middle half)", "store µs"], lines)


def latency(found: Results) -> str:
    """Latency of calls from the time they were due, and what each proxy adds to the direct call of the same round."""
    peers = groups(found["latency"]["calls"], "peer")
    direct, envoy = peers["direct",], peers.get(("envoy-local",), [])
    lines = []
    for (peer,), rows in peers.items():
        line = [peer, f"{sum(row['calls'] for row in rows):,}"]
        for column in ("p50_us", "p99_us"):
            line += [f"{median(rows, column):.0f}"]
            line += ["–", "–"] if peer == "direct" else _added(rows, direct, envoy, column)
        lines.append([*line, f"{median(rows, 'late_p99_us'):.0f}"])
    return markdown(
        ["to", "calls", "p50 µs", "added", "× envoy-local", "p99 µs", "added", "× envoy-local", "sent late, p99 µs"],
        lines,
    )


def _added(rows: Rows, direct: Rows, envoy: Rows, column: str) -> list[str]:
    """Over the direct call, and that as a multiple of what Envoy adds."""
    ours, theirs = (
        statistics.median([row[column] - base[column] for row, base in zip(some, direct, strict=True)]) if some else 0.0
        for some in (rows, envoy)
    )
    return [f"{ours:.0f}", f"{ours / theirs:.2f}" if theirs > 0 else "–"]


def stages(found: Results) -> str:
    """Where a call's time goes at that rate, by the times in the gateway's own log."""
    lines = [[row["part"], f"{row['p50_ms']:.3f}", f"{row['p99_ms']:.3f}"] for row in found["latency"]["stages"]]
    return markdown(["time in the log", "p50 ms", "p99 ms"], lines)


def workers(found: Results) -> str:
    """CPU per call of one and of two workers."""
    counts = groups(found["workers"], "workers")
    one = counts[1,]
    lines = []
    for (count,), rows in counts.items():
        costs = [row["cpu_us"] for row in rows]
        scaling = count * statistics.median(a["cpu_us"] / b["cpu_us"] for a, b in zip(one, rows, strict=False))
        cost = f"{statistics.median(costs):.1f} ({min(costs):.1f}–{max(costs):.1f})"
        lines.append([str(count), cost, f"{scaling:.2f}", f"{median(rows, 'calls_per_s'):,.0f}"])
    return markdown(["workers", "CPU µs/call (min–max)", "work of one", "calls/s with all on two cores"], lines)


def store(found: Results) -> str:
    """What a decision costs the server, by its own count."""
    rows = groups(found["store"], "case", "server")
    lines = [[case, server, f"{min(row['least_us'] for row in same):.1f}"] for (case, server), same in rows.items()]
    return markdown(["decision", "server", "µs of its CPU, least"], lines)


def memory(found: Results) -> str:
    """Bytes of each."""
    held = found["memory"]
    lines = [
        [f"tenant's window of 500 calls, {server}", f"{size:,}"]
        for server, size in held["key_of_500_calls_bytes"].items()
    ]
    lines += [[f"idle socket, {kind}", f"{size:,.0f}"] for kind, size in held["idle_socket_bytes"].items()]
    lines += [
        [f"a worker after load of {count} tenants", f"{size:,}"] for count, size in held["worker_rss_bytes"].items()
    ]
    return markdown(["held", "bytes"], lines)


def instructions(found: Results) -> str:
    """Python's share of a call, counted."""
    lines = [[name, f"{of['calls']:,}", f"{of['instructions']:,}"] for name, of in found["instructions"].items()]
    return markdown(["scenario", "function calls", "bytecode instructions"], lines)


def by_stage(found: Results) -> str:
    """The same by stage, of the scenarios that say most."""
    kinds = [(title, found["instructions"][name]["stages"]) for title, name in BY_STAGE.items()]
    rows = [[stage, *(f"{of[stage]:,}" if of.get(stage) else "–" for _, of in kinds)] for stage in STAGES]
    return markdown(["stage", *(title for title, _ in kinds)], rows)


PARTS: dict[str, Sequence[Callable[[Results], str]]] = {
    "table": (ratios, table),
    "bodies": (bodies,),
    "curves": (curves,),
    "latency": (latency, stages),
    "workers": (workers,),
    "store": (store,),
    "memory": (memory,),
    "instructions": (instructions, by_stage),
}


def text(found: Results) -> str:
    """All there is, in Markdown."""
    parts = [about(found["machine"]), about(found["versions"])]
    parts += [show(found) for part, shows in PARTS.items() if found.get(part) for show in shows]
    if found.get("left_out"):
        parts.append("Left out:\n" + about(found["left_out"]))
    return "\n\n".join(parts)


def about(facts: dict[str, str]) -> str:
    """A list."""
    return "\n".join(f"- {name}: {fact}" for name, fact in facts.items())
