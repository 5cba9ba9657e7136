"""Plots of a results file, and its tables in the documents that show them: `python -m benchmarks.report [FILE]`.

They stand between two comments, `<!-- name -->` and `<!-- end of name -->`. Only the committed file goes there.
"""

import json
import re
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import results, svg, tables
from benchmarks.calm import TOLERATED
from benchmarks.results import Results
from benchmarks.tables import about

ROOT = Path(__file__).parents[1]
DOCUMENTS = (ROOT / "benchmarks/README.md", ROOT / "docs/performance.md")
TITLES = {
    "table": ("Beside other proxies", "peers.svg"),
    "bodies": ("Bodies beside other proxies", ""),
    "curves": ("How the gateway's cost grows", "curves.svg"),
    "latency": ("At 200 calls a second", ""),
    "workers": ("Two workers", ""),
    "store": ("CPU of the store", ""),
    "memory": ("Memory", ""),
    "instructions": ("Python's share, counted", ""),
}


def draw(found: Results, folder: Path) -> None:
    """Write peers.svg and curves.svg beside the results."""
    if found.get("table"):
        (folder / "peers.svg").write_text(svg.bars(_bars(found["table"]), "CPU µs per call"))
    if found.get("curves"):
        (folder / "curves.svg").write_text(svg.lines(_lines(found["curves"]), "µs"))


def _bars(rows: tables.Rows) -> list[tuple[str, list[svg.Bar]]]:
    charts = []
    for (profile, heads), of_profile in tables.groups(rows, "profile", "heads").items():
        bars = []
        for (peer,), some in tables.groups(of_profile, "peer").items():
            costs = [row["cpu_us"] for row in some]
            bars.append(svg.Bar(peer, statistics.median(costs), min(costs), max(costs), peer == "gateway"))
        charts.append((f"{profile}, {heads} heads", sorted(bars, key=lambda bar: bar.value)))
    return charts


def _lines(rows: tables.Rows) -> list[svg.Line]:
    return [
        svg.Line(
            curve.replace("down_bytes", "answer's body").replace("up_bytes", "request's body"),
            [(_short(x, curve), tables.median(same, "cpu_us")) for (x,), same in tables.groups(some, "x").items()],
        )
        for (curve,), some in tables.groups(rows, "curve").items()
    ]


def _short(x: int, curve: str) -> str:
    return f"{x // 1024} KiB" if curve.endswith("bytes") else f"{x:,}"


def chapter(found: Results) -> str:
    """All tables, each below the command that makes it."""
    parts = [about(found["machine"] | found["versions"])]
    if found.get("left_out"):
        parts.append("Left out:\n" + about(found["left_out"]))
    for part, (title, plot) in TITLES.items():
        if found.get(part):
            stamp = found["of"][part]
            said = [
                f"revision {stamp['commit']}, {stamp['measured']}",
                stamp.get("processor", ""),
                disturbed(found[part]),
            ]
            parts += [f"### {title}", " · ".join([f"`python -m benchmarks.run {part}`", *filter(None, said)])]
            parts += [f"![{title}]({plot})"] if plot else []
            parts += [show(found) for show in tables.PARTS[part]]
    return "\n\n".join(parts)


def disturbed(samples: object) -> str:
    """How many runs the machine has disturbed, if any."""
    known = [row["slowness"] for row in samples if "slowness" in row] if isinstance(samples, list) else []
    slow = [slowness for slowness in known if slowness > TOLERATED]
    return f"{len(slow)} of {len(known)} runs disturbed, up to {max(slow):.1f} times as slow" if slow else ""


SHOWN: dict[str, tuple[str, Callable[[Results], str]]] = {
    "results": ("machine", chapter),
    "ratios": ("table", tables.ratios),
    "times": ("latency", tables.stages),
    "stages": ("instructions", tables.by_stage),
    "growth": ("curves", tables.curves),
}
"""What documents may show: the part it is made of, and how."""


def fill(document: str, found: Results) -> str:
    """The document with its figures. What the results do not have stays as it is. KeyError: there is no such name."""

    def shown(mark: re.Match[str]) -> str:
        part, show = SHOWN[mark[1]]
        return f"<!-- {mark[1]} -->\n\n{show(found)}\n\n<!-- end of {mark[1]} -->" if found.get(part) else mark[0]

    return re.sub(r"<!-- (\w+) -->\n.*?<!-- end of \1 -->", shown, document, flags=re.DOTALL)


def show(path: Path, found: Results) -> None:
    """Tables on standard output, plots beside the results; those of the committed file in the documents too."""
    print(tables.text(found))
    draw(found, path.parent)
    if path == results.FILE:
        for document in DOCUMENTS:
            document.write_text(fill(document.read_text(), found))


def main() -> None:
    """Show and draw again."""
    path = Path(sys.argv[1]) if sys.argv[1:] else results.FILE
    show(path, json.loads(path.read_text()))


if __name__ == "__main__":
    main()
