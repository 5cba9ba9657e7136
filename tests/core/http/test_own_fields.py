"""What upstreams say is left in fields of their own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.http.own_fields import MAX_VALUE_BYTES, OwnFields, quotas
from gateway.core.http.signals import Asked, Honor, read

S = 1_000_000
MINUTE = OwnFields(remaining="x-min-left", window_us=60 * S)
DAY = OwnFields(remaining="x-day-left", reset="x-day-reset")
USED = OwnFields(used="x-used", window_us=S)
ALL = (MINUTE, DAY, USED)


@pytest.mark.parametrize(
    ("name", "value", "quota"),
    [
        ("X-Min-Left", "59", (59, 60 * S)),
        ("x-min-left", " 0 ", (0, 60 * S)),
        ("X-Min-Left", "12.0", (12, 60 * S)),
        *[
            ("X-Min-Left", bad, None)
            for bad in ("", "-1", "many", "1e9", "9" * 16, "5/10", "\u00b2", " " * MAX_VALUE_BYTES + "5")
        ],
        ("X-Day-Left", "7", (7, 0)),
        ("X-Used", "39/40", (1, S)),
        ("X-Used", "api-usage=40/40; per-app=1/2", (0, S)),
        ("X-Used", "45/40", (0, S)),
        *[("X-Used", bad, None) for bad in ("", "39", "/40", "39/", "1.5/2", "1/2.5", f"1/{'9' * 16}", "a/b")],
        ("X-Other", "5", None),
    ],
)
def test_values(name: str, value: str, quota: tuple[int, int] | None) -> None:
    assert [*quotas(ALL, ((name.encode(), value.encode("latin-1")),), 0)] == ([quota] if quota else [])


@pytest.mark.parametrize(
    ("reset", "for_us"), [("30", 30 * S), ("1m30s", 90 * S), ("1970-01-01T00:00:20Z", 10 * S), ("soon", 0), ("-5", 0)]
)
def test_until_when(reset: str, for_us: int) -> None:
    fields = ((b"X-Day-Left", b"7"), (b"X-Day-Reset", reset.encode()))
    assert [*quotas(ALL, fields, 10 * S)] == [(7, for_us)]


def said(*pairs: tuple[str, str]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name.encode(), value.encode()) for name, value in pairs)


@pytest.mark.parametrize(
    ("status", "fields", "asked"),
    [
        (200, said(("X-Min-Left", "59"), ("X-Day-Left", "100"), ("X-Day-Reset", "900")), Asked(0, 59, 60 * S)),
        (200, said(("X-Min-Left", "59"), ("X-Day-Left", "3"), ("X-Day-Reset", "900")), Asked(0, 3, 900 * S)),
        (200, said(("X-Min-Left", "0"), ("X-Day-Left", "0"), ("X-Day-Reset", "900")), Asked(900 * S, 0, 900 * S)),
        (
            200,
            said(("X-Min-Left", "5"), ("X-RateLimit-Remaining", "2"), ("X-RateLimit-Reset", "7")),
            Asked(0, 2, 7 * S),
        ),
        (429, said(("X-Min-Left", "0"), ("Retry-After", "7")), Asked(7 * S, 0, 60 * S)),
        (429, said(("X-Min-Left", "5")), Asked(0, 5, 60 * S)),
        (
            200,
            said(
                ("X-Day-Left", "0"),
                ("X-Day-Reset", "Thu, 01 Jan 1970 00:01:00 GMT"),
                ("Date", "Thu, 01 Jan 1970 00:00:50 GMT"),
            ),
            Asked(10 * S, 0, 10 * S),
        ),
        (200, said(("X-Used", "1/2"), ("x-used", "2/2"), ("X-Used", "?")), Asked(S, 0, S)),
        (200, said(("X-Used", "2/2"), ("x-used", "1/2")), Asked(S, 0, S)),
        (200, (), Asked()),
    ],
)
def test_beside_the_fields_that_everybody_has(
    status: int, fields: tuple[tuple[bytes, bytes], ...], asked: Asked
) -> None:
    assert read(status, fields, 0, tuple(Honor), ALL) == asked


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"X-Min-Left", b"x-used", b"X-Day-Left", b"X-Day-Reset", b"RateLimit"]),
            st.binary(max_size=40),
        )
    )
)
def test_whatever_they_say(fields: list[tuple[bytes, bytes]]) -> None:
    asked = read(429, tuple(fields), 0, tuple(Honor), ALL)
    assert asked.wait_us >= 0
    assert asked.reset_us >= 0
    assert (asked.remaining or 0) >= 0
