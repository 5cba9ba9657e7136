"""Two kinds of plot, written as SVG by hand: bars with their range, and small line charts."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

INK, FAINT, OURS, THEIRS = "#1f2933", "#d5dae0", "#0b6e99", "#9aa5b1"
_FONT = 'font-family="system-ui, sans-serif" font-size="12"'


class Bar(NamedTuple):
    """One bar: its value, with the extremes of its samples."""

    label: str
    value: float
    low: float
    high: float
    ours: bool


class Line(NamedTuple):
    """One small chart: (label on the x axis, value) from left to right. Values start at zero."""

    title: str
    points: Sequence[tuple[str, float]]


def _text(x: float, y: float, text: str, anchor: str = "start", weight: str = "normal") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" font-weight="{weight}">{escape(text)}</text>'


def _document(width: int, height: int, parts: Sequence[str]) -> str:
    inside = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'{_FONT} fill="{INK}">\n<rect width="100%" height="100%" fill="white"/>\n{inside}\n</svg>\n'
    )


def bars(groups: Sequence[tuple[str, Sequence[Bar]]], unit: str) -> str:
    """Horizontal bars in titled groups, on one scale."""
    left, width, step = 170, 760, 22
    most = max(bar.high for _, some in groups for bar in some)
    scale = (width - left - 90) / most
    parts, y = [], 8
    for title, some in groups:
        y += step + 6
        parts.append(_text(10, y, f"{title}, {unit}", weight="bold"))
        for bar in some:
            y += step
            end = left + bar.value * scale
            parts.append(_text(left - 8, y + 4, bar.label, "end", "bold" if bar.ours else "normal"))
            colour = OURS if bar.ours else THEIRS
            parts.append(f'<rect x="{left}" y="{y - 7}" width="{end - left:.1f}" height="14" fill="{colour}"/>')
            ends = f'x1="{left + bar.low * scale:.1f}" x2="{left + bar.high * scale:.1f}"'
            parts.append(f'<line {ends} y1="{y}" y2="{y}" stroke="{INK}"/>')
            parts.append(_text(left + bar.high * scale + 8, y + 4, f"{bar.value:.1f}"))
    return _document(width, y + 20, parts)


def lines(charts: Sequence[Line], unit: str) -> str:
    """Small charts side by side, three in a row, each on its own scale from zero."""
    size_x, size_y, across = 250, 170, 3
    rows = -(-len(charts) // across)
    parts = []
    for number, chart in enumerate(charts):
        left, top = (number % across) * size_x + 20, (number // across) * size_y + 24
        width, height = size_x - 50, size_y - 70
        most = max(value for _, value in chart.points) * 1.15
        step = width / max(1, len(chart.points) - 1)
        spots = [(left + i * step, top + height * (1 - value / most)) for i, (_, value) in enumerate(chart.points)]
        parts.append(_text(left - 5, top - 6, f"{chart.title}, {unit}", weight="bold"))
        parts.append(
            f'<line x1="{left}" x2="{left + width}" y1="{top + height}" y2="{top + height}" stroke="{FAINT}"/>'
        )
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{OURS}" stroke-width="2"/>')
        for (x, y), (label, value) in zip(spots, chart.points, strict=True):
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{OURS}"/>')
            parts.append(_text(x, y + (-8 if y > top + 14 else 16), f"{value:.0f}", "middle"))
            parts.append(_text(x, top + height + 16, label, "middle"))
    return _document(size_x * across, rows * size_y + 10, parts)
