"""Which part of a kept answer a request is for (RFC 9110 §14)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.cache.ranges import wanted_part
from tests.core.cache.cache_cases import AGO_60, NOW, NOW_US, fields, kept

BODY = b"0123456789"
HERE = ('ETag: "v1"', f"Last-Modified: {AGO_60}")


@pytest.mark.parametrize(
    ("said", "part"),
    [
        ("bytes=0-0", b"0"),
        ("bytes=9-9", b"9"),
        ("bytes=9-", b"9"),
        ("bytes=3-8", b"345678"),
        ("bytes=3-99", b"3456789"),
        ("bytes=-1", b"9"),
        ("bytes=-10", BODY),
        ("bytes=-11", BODY),
        ("bytes=-0", b""),
        ("bytes=10-", b""),
        ("Bytes = 1-2 ", b"12"),
        ("bytes=3-2", None),
        ("bytes=1-2,4-5", None),
        ("items=1-2", None),
        ("bytes=-", None),
    ],
)
def test_one_range_of_bytes(said: str, part: bytes | None) -> None:
    found = wanted_part(kept(), fields(f"Range: {said}"), NOW_US)
    assert (None if found is None else BODY[found.first : found.end]) == part


@given(st.integers(0, 12), st.integers(0, 12))
def test_a_range_is_what_python_would_cut_out(first: int, last: int) -> None:
    found = wanted_part(kept(), fields(f"Range: bytes={first}-{last}"), NOW_US)
    assert (found is None) is (last < first)
    assert found is None or BODY[found.first : found.end] == BODY[first : last + 1]
    assert found is None or 0 <= found.first <= found.end <= len(BODY)


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ('If-Range: "v1"', True),
        ('If-Range: W/"v1"', False),
        ('If-Range: "v2"', False),
        (f"If-Range: {AGO_60}", True),
        (f"If-Range: {NOW}", False),
        ("If-Range: nonsense", False),
    ],
)
def test_a_part_is_only_for_who_has_the_rest_of_the_same_answer(condition: str, holds: bool) -> None:
    found = wanted_part(kept(*HERE), fields("Range: bytes=1-2", condition), NOW_US)
    assert (found is not None) is holds


def test_only_of_answers_that_are_whole_and_are_asked_for_once() -> None:
    assert wanted_part(kept(status=404), fields("Range: bytes=1-2"), NOW_US) is None
    assert wanted_part(kept(), fields("Range: bytes=1-2", "Range: bytes=1-2"), NOW_US) is None
    assert wanted_part(kept(*HERE), fields("Range: bytes=1-2", 'If-Range: "v1"', 'If-Range: "v1"'), NOW_US) is None
