"""Tables and plots of a results file: `python -m benchmarks.report [FILE]`. `--write` puts them into the README."""

import json
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import results, svg
from benchmarks.results import Results

AGAINST = ("envoy-local", "nginx-lua-redis")
Rows = list[dict[str, Any]]


def _groups(rows: Rows, *names: str) -> dict[tuple[Any, ...], Rows]:
    """Rows by the values of these columns, in the order of their first appearance."""
    found: dict[tuple[Any, ...], Rows] = {}
    for row in rows:
        found.setdefault(tuple(row[name] for name in names), []).append(row)
    return found


def _median(rows: Rows, column: str) -> float:
    return statistics.median(row[column] for row in rows)


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))


def _ratio(rows: Rows, base: Rows) -> str:
    """CPU as a multiple of another's: the median of the ratios of single rounds."""
    theirs = {row["round"]: row["cpu_us"] for row in base}
    ratios = [row["cpu_us"] / theirs[row["round"]] for row in rows if row["round"] in theirs]
    return f"{statistics.median(ratios):.2f}" if ratios else "–"


def table(found: Results) -> str:
    """CPU, throughput, latency under full load, memory and the store's CPU of every proxy."""
    groups = _groups(found["table"], "profile", "heads", "peer")
    head = ["profile", "heads", "proxy", "CPU µs/call (min–max)", *(f"× {name}" for name in AGAINST)]
    head += ["calls/s", "p50 ms", "p99 ms", "MiB", "store µs"]
    lines = []
    for (profile, heads, peer), rows in groups.items():
        costs = [row["cpu_us"] for row in rows]
        line = [profile, heads, peer, f"{statistics.median(costs):.1f} ({min(costs):.1f}–{max(costs):.1f})"]
        line += [_ratio(rows, groups.get((profile, heads, name), [])) for name in AGAINST]
        for column, digits in (("calls_per_s", 0), ("p50_ms", 2), ("p99_ms", 1), ("memory_mib", 0), ("store_us", 1)):
            line.append(f"{_median(rows, column):,.{digits}f}")
        lines.append(line)
    return _markdown(head, lines)


def curves(found: Results) -> str:
    """CPU at each point, and as a multiple of the curve's first point."""
    lines = []
    firsts: dict[str, Rows] = {}
    for (curve, x), rows in _groups(found["curves"], "curve", "x").items():
        first = firsts.setdefault(curve, rows)
        costs = [row["cpu_us"] for row in rows]
        cost = f"{statistics.median(costs):.1f} ({min(costs):.1f}–{max(costs):.1f})"
        lines.append([curve, f"{x:,}", cost, _ratio(rows, first), f"{_median(rows, 'store_us'):.1f}"])
    return _markdown(["curve", "x", "CPU µs/call (min–max)", "× first", "store µs"], lines)


def latency(found: Results) -> str:
    """Latency of calls from the time they were due, and what each proxy adds to the direct call of the same round."""
    groups = _groups(found["latency"]["calls"], "peer")
    direct = groups["direct",]
    lines = []
    for (peer,), rows in groups.items():
        line = [peer, f"{sum(row['calls'] for row in rows):,}"]
        for column in ("p50_us", "p99_us"):
            added = statistics.median(row[column] - base[column] for row, base in zip(rows, direct, strict=True))
            line += [f"{_median(rows, column):.0f}", "–" if peer == "direct" else f"{added:.0f}"]
        lines.append([*line, f"{_median(rows, 'late_p99_us'):.0f}"])
    return _markdown(["to", "calls", "p50 µs", "added", "p99 µs", "added", "sent late, p99 µs"], lines)


def stages(found: Results) -> str:
    """Where a call's time goes at that rate, by the times in the gateway's own log."""
    lines = [[row["part"], f"{row['p50_ms']:.3f}", f"{row['p99_ms']:.3f}"] for row in found["latency"]["stages"]]
    return _markdown(["time in the log", "p50 ms", "p99 ms"], lines)


def workers(found: Results) -> str:
    """CPU per call of one and of two workers."""
    groups = _groups(found["workers"], "workers")
    one = groups[1,]
    lines = []
    for (count,), rows in groups.items():
        costs = [row["cpu_us"] for row in rows]
        scaling = count * statistics.median(a["cpu_us"] / b["cpu_us"] for a, b in zip(one, rows, strict=False))
        cost = f"{statistics.median(costs):.1f} ({min(costs):.1f}–{max(costs):.1f})"
        lines.append([str(count), cost, f"{scaling:.2f}", f"{_median(rows, 'calls_per_s'):,.0f}"])
    return _markdown(["workers", "CPU µs/call (min–max)", "work of one", "calls/s with all on two cores"], lines)


def store(found: Results) -> str:
    """What a decision costs the server, by its own count."""
    rows = _groups(found["store"], "case", "server")
    lines = [[case, server, f"{min(row['least_us'] for row in same):.1f}"] for (case, server), same in rows.items()]
    return _markdown(["decision", "server", "µs of its CPU, least"], lines)


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
    return _markdown(["held", "bytes"], lines)


PARTS: dict[str, Sequence[Callable[[Results], str]]] = {
    "table": (table,),
    "curves": (curves,),
    "latency": (latency, stages),
    "workers": (workers,),
    "store": (store,),
    "memory": (memory,),
}


def text(found: Results) -> str:
    """All there is, in Markdown."""
    parts = [f"Revision {found['commit']}, {found['measured']}", _about(found["machine"]), _about(found["versions"])]
    parts += [show(found) for part, shows in PARTS.items() if found.get(part) for show in shows]
    if found.get("left_out"):
        parts.append("Left out:\n" + _about(found["left_out"]))
    return "\n\n".join(parts)


def _about(facts: dict[str, str]) -> str:
    return "\n".join(f"- {name}: {fact}" for name, fact in facts.items())


def draw(found: Results, folder: Path) -> None:
    """Write peers.svg and curves.svg beside the results."""
    if found.get("table"):
        (folder / "peers.svg").write_text(svg.bars(_bars(found["table"]), "CPU µs per call"))
    if found.get("curves"):
        (folder / "curves.svg").write_text(svg.lines(_lines(found["curves"]), "µs"))


def _bars(rows: Rows) -> list[tuple[str, list[svg.Bar]]]:
    groups = []
    for (profile, heads), of_profile in _groups(rows, "profile", "heads").items():
        bars = []
        for (peer,), some in _groups(of_profile, "peer").items():
            costs = [row["cpu_us"] for row in some]
            bars.append(svg.Bar(peer, statistics.median(costs), min(costs), max(costs), peer == "gateway"))
        groups.append((f"{profile}, {heads} heads", sorted(bars, key=lambda bar: bar.value)))
    return groups


def _lines(rows: Rows) -> list[svg.Line]:
    return [
        svg.Line(
            curve.replace("down_bytes", "answer's body").replace("up_bytes", "request's body"),
            [(_short(x, curve), _median(same, "cpu_us")) for (x,), same in _groups(some, "x").items()],
        )
        for (curve,), some in _groups(rows, "curve").items()
    ]


def _short(x: int, curve: str) -> str:
    return f"{x // 1024} KiB" if curve.endswith("bytes") else f"{x:,}"


TITLES = {
    "table": ("Beside other proxies", "peers.svg"),
    "curves": ("How the gateway's cost grows", "curves.svg"),
    "latency": ("At 200 calls a second", ""),
    "workers": ("Two workers", ""),
    "store": ("CPU of the store", ""),
    "memory": ("Memory", ""),
}


def chapter(found: Results) -> str:
    """The README's part: each table below the command that makes it."""
    parts = [f"Revision {found['commit']}, {found['measured']}, {found['machine']['processor']}."]
    parts += [_about(found["machine"] | found["versions"])]
    for part, (title, plot) in TITLES.items():
        if found.get(part):
            parts += [f"### {title}", f"`python -m benchmarks.run {part}`"]
            parts += [f"![{title}]({plot})"] if plot else []
            parts += [show(found) for show in PARTS[part]]
    return "\n\n".join(parts)


def write(found: Results, path: Path) -> None:
    """Put the figures between the README's two marks."""
    before, start, rest = path.read_text().partition("<!-- results -->\n")
    _, end, after = rest.partition("<!-- end of results -->")
    path.write_text(before + start + "\n" + chapter(found) + "\n\n" + end + after)


def main() -> None:
    """Show and draw again."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--write"]
    path = Path(arguments[0]) if arguments else results.FILE
    found = json.loads(path.read_text())
    print(text(found))
    draw(found, path.parent)
    if len(arguments) < len(sys.argv) - 1:
        write(found, path.with_name("README.md"))


if __name__ == "__main__":
    main()
