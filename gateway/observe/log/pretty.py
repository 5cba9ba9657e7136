"""One short line per call for people at a terminal."""

from typing import Any

from gateway.observe.log.text import printable

RESET, DIM, BOLD = "\x1b[0m", "\x1b[2m", "\x1b[1m"
RED, GREEN, YELLOW, CYAN = "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[36m"
WORD_CHARS = 60


def access_line(now: str, _level: str, line: dict[str, Any]) -> bytes:
    """`05:30:00.123 GET /erp/items 200 12.3 ms erp acme allowed 499 left`, coloured, with its newline."""
    time = now[11:23]
    path = _shortened(printable(str(line.get("path", "-"))))
    method = _shortened(printable(str(line.get("method", "-"))))
    words = [
        f"{DIM}{time}{RESET}",
        f"{BOLD}{method:<6}{RESET} {path}",
        f"{_status_colour(line['status'])}{line['status']}{RESET}",
        f"{line['duration_ms']:.1f} ms",
        f"{CYAN}{line.get('route', '-')}{RESET}",
        *_decision(line),
    ]
    text = " ".join(words)
    return text.encode("utf-8", "replace") + b"\n"


def error_line(line: dict[str, Any]) -> bytes:
    """`05:30:00.123 conn_42 product.read attempt 2 503 server_error 35.1 ms`, coloured, with its newline."""
    named = [printable(str(line[name])) for name in ("tenant", "connection", "operation") if name in line]
    words = [
        f"{DIM}{line['timestamp'][11:23]}{RESET}",
        *named,
        f"attempt {line['attempt']}",
        f"{RED}{line.get('upstream_status', '')} {printable(str(line['error_class']))}{RESET}",
        f"{line['upstream_ms']:.1f} ms",
    ]
    return " ".join(words).encode("utf-8", "replace") + b"\n"


def _decision(line: dict[str, Any]) -> list[str]:
    words = [_shortened(printable(str(line[name]))) for name in ("tenant", "connection") if name in line]
    decision = str(line["decision"])
    colour = {"limited": RED, "shadow_limited": YELLOW}.get(decision, "")
    words.append(f"{colour}{decision}{RESET}" if colour else decision)
    if "limit_fired" in line:
        words.append(f"by {line['limit_fired']}")
    if "limit_remaining" in line:
        words.append(f"{line['limit_remaining']} left")
    if "retry_after_s" in line:
        words.append(f"retry in {line['retry_after_s']} s")
    if "error_class" in line:
        words.append(f"{YELLOW}{printable(str(line['error_class']))}{RESET}")
    return words


def _status_colour(status: object) -> str:
    if not isinstance(status, int) or status >= 500:
        return RED
    return YELLOW if status >= 400 else GREEN


def _shortened(word: str) -> str:
    return word if len(word) <= WORD_CHARS else word[: WORD_CHARS - 3] + "..."
