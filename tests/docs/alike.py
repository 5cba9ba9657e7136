"""Whether a program printed what a page shows, but for what is different every time."""

import json
import re

CHANGING = (
    (r"Date: .*", "Date: ..."),
    (r"Server: .*", "Server: ..."),
    (r"Content-Length: .*", "Content-Length: ..."),
    (r"\b[0-9a-f]{20}\b", "ID"),
    (r"\b[0-9a-f]{12}\b", "VERSION"),
    (r"(t=|ends in |Reset: |Retry-After: |\"retry_after\":)\d+", r"\1N"),
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME"),
    (r"[ \t]+$", ""),
)


def alike(told: str, done: str) -> bool:
    """`told` may leave lines out (`...`), and show of an HTTP answer the head alone. JSON has the same keys."""
    if (one := as_json(told)) is not None:
        other = as_json(done)
        return other is not None and same_shape(one, other)
    told, done = steady(told), steady(done)
    if told.startswith("HTTP/") and "\n\n" not in told:
        done = done.partition("\n\n")[0].strip()
    pieces = re.split(r"^\.\.\.\n", told + "\n", flags=re.MULTILINE)
    pattern = r"(?:.*\n)*?".join(re.escape(piece) for piece in pieces)
    return re.fullmatch(pattern, done + "\n") is not None


def steady(text: str) -> str:
    text = text.replace("\r\n", "\n")
    for pattern, instead in CHANGING:
        text = re.sub(pattern, instead, text, flags=re.MULTILINE)
    return text.strip()


def as_json(text: str) -> object:
    """What a text is as JSON; None if it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def same_shape(told: object, done: object) -> bool:
    """The same keys, kinds of values, and texts; numbers, ids and times differ."""
    if isinstance(told, dict) and isinstance(done, dict):
        return told.keys() == done.keys() and all(same_shape(told[key], done[key]) for key in told)
    if isinstance(told, list) and isinstance(done, list):
        if len(told) == len(done):
            return all(same_shape(one, other) for one, other in zip(told, done, strict=True))
        return not told or (bool(done) and all(same_shape(told[0], one) for one in done))
    if isinstance(told, str) and isinstance(done, str):
        return told == done or bool(re.search(r"\d", told))
    return isinstance(done, int | float) if isinstance(told, int | float) else told == done
