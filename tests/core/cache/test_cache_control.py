"""`Cache-Control` as people write it, and as nobody should."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.cache.control import MAX_SECONDS, Directives, directives, request_directives
from tests.core.cache.cache_cases import fields


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ([], None),
        (["public"], None),
        (["max-age=60"], 60),
        (["MAX-AGE=60"], 60),
        (["a, max-age=60 , b"], 60),
        ([",, max-age=60,"], 60),
        (['max-age="60"'], 60),
        (['x="a, max-age=9", max-age=60'], 60),
        (['x="a\\", max-age=9", max-age=60'], 60),
        (["max-age=0060"], 60),
        (["max-age=60", "max-age=60"], 60),
        (["max-age=60, max-age=70"], 0),
        (["max-age=60", "max-age=70"], 0),
        (["max-age"], 0),
        (["max-age="], 0),
        (["max-age=-1"], 0),
        (["max-age=1.5"], 0),
        (["max-age=1s"], 0),
        (["max-age=٣"], 0),
        (['max-age="60'], 60),
        ([f"max-age={'9' * 64}"], MAX_SECONDS),
        ([f"max-age={'9' * 65}"], 0),
        (["max-age=60, x=" + "y" * 5000], None),
    ],
)
def test_seconds(said: list[str], seconds: int | None) -> None:
    assert Directives(said).seconds("max-age") == seconds


def test_which_are_there() -> None:
    said = Directives(['Private, no-cache="Set-Cookie" , max-stale'])
    assert [bool(one) for one in (said, Directives([]), Directives([" , "]))] == [True, False, False]
    assert [name in said for name in ("private", "no-cache", "max-stale", "public")] == [True, True, True, False]
    assert [said.bare(name) for name in ("private", "no-cache", "max-stale", "public")] == [True, False, True, False]


def test_a_field_of_kilobytes_means_no_store() -> None:
    assert "no-store" in Directives(["public, " + "x" * 5000])


@pytest.mark.parametrize(
    ("said", "no_store"),
    [
        ('max-age=9, x="a, no-store', True),
        ('max-age=9, x="a\\", no-store', True),
        ('"\\, no-store', True),
        ('max-age=9, x="a, no-store"', False),
        ('max-age=9, x="a\\", no-store"', False),
        ('"' + '\\"' * 2000 + ", no-store", True),
    ],
)
def test_a_string_that_does_not_end_hides_nothing(said: str, no_store: bool) -> None:
    assert ("no-store" in Directives([said])) is no_store


@pytest.mark.parametrize(
    ("lines", "no_cache"),
    [
        (["Pragma: no-cache"], True),
        (["pragma: x, No-Cache"], True),
        (["Pragma: x"], False),
        (["Pragma: no-cache", "Cache-Control: max-age=1"], False),
        (["Cache-Control: no-cache"], True),
        ([], False),
    ],
)
def test_pragma_speaks_where_cache_control_is_silent(lines: list[str], no_cache: bool) -> None:
    assert ("no-cache" in request_directives(fields(*lines))) is no_cache


def test_pragma_says_nothing_in_answers() -> None:
    assert "no-cache" not in directives(fields("Pragma: no-cache"))


@given(st.lists(st.text(alphabet=' ,="\\abmx-ge0123456789\t', max_size=60), max_size=4))
def test_nothing_is_beyond_reading(said: list[str]) -> None:
    found = Directives(said)
    seconds = found.seconds("max-age")
    assert seconds is None or 0 <= seconds <= MAX_SECONDS
