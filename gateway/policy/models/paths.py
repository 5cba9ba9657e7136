"""Paths as policies write them: a whole one, a prefix, a pattern of segments. Compared as sent, undecoded."""

import re
from typing import Annotated

from pydantic import BeforeValidator

from gateway.policy.findings import LONGEST_SHOWN, quoted
from gateway.policy.models.scalars import Unfit, expect_text, text_schema

_PATH = re.compile(r"/[!$&'()*+,;=:@A-Za-z0-9._~%/{}-]*").fullmatch
_LOOKS_LIKE_REGEX = re.compile(r"^[~^]|\)\+|\$$").search
_SEGMENTS = "a segment is text, {name}, * or **"
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})").search


def parse_path(value: object) -> str:
    """A raw path as it stands in a request, percent-encoded where necessary."""
    text = expect_text(value, "a path like /erp/")
    if not text.startswith("/"):
        raise Unfit("bad-path", f"the path {quoted(text)} does not begin with /", _how_to_begin(text))
    if not _PATH(text) or _ESCAPE(text):
        raise Unfit("bad-path", f"{quoted(text)} is not a path", "paths are matched percent-encoded, without a query")
    return text


def _how_to_begin(text: str) -> str:
    if _LOOKS_LIKE_REGEX(text):
        return f"no regular expression: {_SEGMENTS}"
    return f"write /{text}" if len(text) <= LONGEST_SHOWN and _PATH(f"/{text}") else ""


def _parse_matching(value: object) -> str:
    """Such a path that a call can have which is let through."""
    text = parse_path(value)
    if {".", ".."}.intersection(text.split("/")):
        raise Unfit("bad-path", f"no call matches {quoted(text)}", "write it without dot segments")
    return text


def parse_prefix(value: object) -> str:
    """A path prefix; always ends with `/`."""
    text = _parse_matching(value)
    if re.search(r"[*{}]", text):
        raise Unfit("bad-path", f"a prefix has no wildcards: {quoted(text)}", "use `path` for patterns")
    return text.rstrip("/") + "/"


def parse_pattern(value: object) -> tuple[str, ...]:
    """`/a/{id}/*/**` split into its segments."""
    text = _parse_matching(value)
    if _LOOKS_LIKE_REGEX(text):
        raise Unfit("bad-path", f"{quoted(text)}: paths are not regular expressions", _SEGMENTS)
    segments = tuple(text.split("/")[1:])
    names = [segment for segment in segments if segment.startswith("{")]
    for number, segment in enumerate(segments, 1):
        if segment == "**" and number < len(segments):
            raise Unfit("bad-path", "** can only be the last segment of a path")
        if not re.fullmatch(r"\*\*?|\{[A-Za-z_][A-Za-z0-9_]{0,63}\}|[^*{}]*", segment):
            raise Unfit(
                "bad-path", f"{quoted(segment)} is not a segment", "use text, {name}, * or ** as a whole segment"
            )
    if len(set(names)) < len(names):
        raise Unfit("bad-path", f"a name stands twice in {quoted(value)}")
    return segments


Prefix = Annotated[str, BeforeValidator(parse_prefix), text_schema("Path prefix", r"^/[^*{}?#]*$", "/erp/")]
Pattern = Annotated[
    tuple[str, ...], BeforeValidator(parse_pattern), text_schema("Path pattern", r"^/[^?#]*$", "/t/{tenant}/**")
]
