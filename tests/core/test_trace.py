"""W3C Trace Context §3.2."""

import pytest

from gateway.core.trace import continue_or_start

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


def test_a_valid_trace_is_continued_with_a_new_parent() -> None:
    trace = continue_or_start(f"00-{TRACE}-{PARENT}-01", 7)
    assert trace.parent_field() == f"00-{TRACE}-{7:016x}-01"


def test_a_future_version_may_carry_more() -> None:
    assert continue_or_start(f"cc-{TRACE}-{PARENT}-01-what", 7).trace_id == TRACE


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
    assert trace.trace_id == f"{2**127 + 5:032x}"
    assert trace.span_id == f"{5:016x}"


def test_ids_are_never_all_zero() -> None:
    trace = continue_or_start(None, 0)
    assert (trace.trace_id, trace.span_id) == ("0" * 31 + "1", "0" * 15 + "1")
