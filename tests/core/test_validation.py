"""Conditional requests: those of callers, ours, and parts of what is kept."""

import pytest

from gateway.core.cache.ranges import wanted_part
from gateway.core.cache.validation import etag, fields_of_304, still_right, unchanged, unconditional, validating
from tests.core.cache.cache_cases import AGO_60, IN_60, NOW, NOW_US, fields, kept


@pytest.mark.parametrize(
    ("answer", "request_lines", "same"),
    [
        ([], [], False),
        (['ETag: "1"'], ['If-None-Match: "1"'], True),
        (['ETag: "1"'], ['If-None-Match: W/"1"'], True),
        (['ETag: W/"1"'], ['If-None-Match: "0", "1"'], True),
        (['ETag: "1"'], ['If-None-Match: "0"', 'If-None-Match: "1"'], True),
        (['ETag: "a,b"'], ['If-None-Match: "a", "a,b"'], True),
        (['ETag: "1"'], ["If-None-Match: *"], True),
        (['ETag: "1"'], ["If-None-Match: 1"], False),
        (['ETag: "1"'], ['If-None-Match: "2"'], False),
        ([], ['If-None-Match: "2"'], False),
        ([], ['If-None-Match: ""'], False),
        (['ETag: ""'], ['If-None-Match: ""'], True),
        (["ETag: 1"], ["If-None-Match: 1"], False),
        (['ETag: "1"', 'ETag: "2"'], ['If-None-Match: "1"'], False),
        ([f"Last-Modified: {NOW}"], [f"If-Modified-Since: {NOW}"], True),
        ([f"Last-Modified: {NOW}"], [f"If-Modified-Since: {IN_60}"], True),
        ([f"Last-Modified: {NOW}"], [f"If-Modified-Since: {AGO_60}"], False),
        ([f"Last-Modified: {NOW}"], ["If-Modified-Since: x"], False),
        ([f"Last-Modified: {NOW}"], [f"If-Modified-Since: {NOW}", f"If-Modified-Since: {NOW}"], False),
        (["Last-Modified: x"], [f"If-Modified-Since: {NOW}"], False),
        ([f"Date: {AGO_60}"], [f"If-Modified-Since: {NOW}"], True),
        ([f"Last-Modified: {NOW}", 'ETag: "1"'], [f"If-Modified-Since: {NOW}", 'If-None-Match: "2"'], False),
    ],
)
def test_a_caller_who_has_it_already(answer: list[str], request_lines: list[str], same: bool) -> None:
    assert unchanged(kept(*answer), fields(*request_lines), NOW_US) is same


def test_only_a_200_can_be_had_already() -> None:
    assert not unchanged(kept('ETag: "1"', status=404), fields("If-None-Match: *"), NOW_US)


@pytest.mark.parametrize(
    ("answer", "added"),
    [
        (['ETag: "1"'], ['If-None-Match: "1"']),
        (['ETag: "1"', f"Last-Modified: {NOW}"], ['If-None-Match: "1"', f"If-Modified-Since: {NOW}"]),
        ([f"Last-Modified: {NOW}"], [f"If-Modified-Since: {NOW}"]),
        (["Last-Modified: x", "ETag: x"], None),
        ([], None),
    ],
)
def test_our_own_conditions(answer: list[str], added: list[str] | None) -> None:
    asked = fields("X-A: 1", 'if-none-match: "0"', f"If-Modified-Since: {AGO_60}")
    expected = None if added is None else fields("X-A: 1", *added)
    assert validating(kept(*answer), asked) == expected
    assert unconditional(asked) == fields("X-A: 1")


@pytest.mark.parametrize(
    ("ours", "theirs", "right"),
    [("", "", True), ('"1"', "", True), ("", '"1"', True), ('"1"', 'W/"1"', True), ('"1"', '"2"', False)],
)
def test_a_304_about_another_answer(ours: str, theirs: str, right: bool) -> None:
    stored = kept(*([f"ETag: {ours}"] if ours else []))
    assert still_right(stored, fields(*([f"ETag: {theirs}"] if theirs else []))) is right


def test_a_304_has_only_what_belongs_there() -> None:
    stored = kept("Cache-Control: max-age=1", 'ETag: "1"', "Content-Type: a/b", f"Date: {NOW}", "X-A: 1", "Vary: a")
    assert fields_of_304(stored) == fields("Cache-Control: max-age=1", 'ETag: "1"', f"Date: {NOW}", "Vary: a")
    assert etag(stored.fields) == '"1"'


@pytest.mark.parametrize(
    ("request_lines", "part"),
    [
        ([], None),
        (["Range: bytes=0-3"], (0, 4)),
        (["Range: BYTES = 2-"], (2, 10)),
        (["Range: bytes=8-99"], (8, 10)),
        (["Range: bytes=-3"], (7, 10)),
        (["Range: bytes=-99"], (0, 10)),
        (["Range: bytes=10-"], (10, 10)),
        (["Range: bytes=99-100"], (10, 10)),
        (["Range: bytes=-0"], (10, 10)),
        (["Range: bytes=3-2"], None),
        (["Range: bytes=0-1,3-4"], None),
        (["Range: lines=0-1"], None),
        (["Range: bytes=-"], None),
        (["Range: bytes=0-1", "Range: bytes=0-1"], None),
        (["Range: bytes=0-1", 'If-Range: "1"'], (0, 2)),
        (["Range: bytes=0-1", 'If-Range: "2"'], None),
        (["Range: bytes=0-1", 'If-Range: W/"1"'], None),
        (["Range: bytes=0-1", 'If-Range: "1"', 'If-Range: "1"'], None),
        (["Range: bytes=0-1", f"If-Range: {NOW}"], (0, 2)),
        (["Range: bytes=0-1", f"If-Range: {IN_60}"], None),
        (["Range: bytes=0-1", "If-Range: x"], None),
    ],
)
def test_parts(request_lines: list[str], part: tuple[int, int] | None) -> None:
    stored = kept('ETag: "1"', f"Last-Modified: {NOW}")
    assert wanted_part(stored, fields(*request_lines), NOW_US) == part


def test_only_a_200_has_parts() -> None:
    assert wanted_part(kept(status=404), fields("Range: bytes=0-1"), NOW_US) is None
