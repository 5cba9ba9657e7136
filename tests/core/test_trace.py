"""W3C Trace Context §3.2."""

import pytest

from gateway.core.trace import continue_or_start, new_span, parent_field

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


def test_a_valid_trace_is_continued_with_a_new_parent() -> None:
    trace = continue_or_start(f"00-{TRACE}-{PARENT}-01", 7)
    assert parent_field(*trace) == f"00-{TRACE}-{7:016x}-01"


def test_a_future_version_may_carry_more() -> None:
    assert continue_or_start(f"cc-{TRACE}-{PARENT}-01-what", 7)[0] == TRACE


@pytest.mark.parametrize(
    "field",
    [
        None,
        "",
        "nonsense",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{PARENT}-01-extra",
    ],
)
def test_otherwise_a_trace_begins(field: str | None) -> None:
    trace = continue_or_start(field, 2**127 + 5)
    assert trace == (f"{2**127 + 5:032x}", f"{5:016x}", "00")


def test_ids_are_never_all_zero() -> None:
    assert continue_or_start(None, 0)[:2] == ("0" * 31 + "1", "0" * 15 + "1")


def test_a_further_span_is_never_no_span() -> None:
    assert [new_span(bits) for bits in (0, 1, 2**64 - 1)] == ["0" * 15 + "1", "0" * 15 + "1", "f" * 16]
