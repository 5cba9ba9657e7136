"""W3C Trace Context §3.2."""

import pytest

from gateway.core.http.trace import ALL_SAMPLED, continue_or_start, new_span, outer_span, parent_field

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


def test_a_valid_trace_is_continued_with_a_new_parent() -> None:
    *trace, parent = continue_or_start(f"00-{TRACE}-{PARENT}-01", 7)
    assert parent_field(*trace) == f"00-{TRACE}-{7:016x}-01"
    assert parent == PARENT


@pytest.mark.parametrize(
    ("given", "kept"), [("00", "00"), ("01", "01"), ("02", "02"), ("03", "03"), ("ff", "03"), ("f4", "00")]
)
def test_flags_that_nobody_knows_are_passed_on_as_zero(given: str, kept: str) -> None:
    assert continue_or_start(f"00-{TRACE}-{PARENT}-{given}", 7, ALL_SAMPLED)[2] == kept


def test_of_the_traces_begun_here_a_share_is_sampled() -> None:
    begun = [continue_or_start(None, number << 54, ALL_SAMPLED // 4)[2] for number in range(1024)]
    assert begun.count("01") == 256
    ends = (0, 2**128 - 1)
    assert [continue_or_start(None, number, ALL_SAMPLED)[2] for number in ends] == ["01", "01"]
    assert [continue_or_start(None, number, 0)[2] for number in ends] == ["00", "00"]


def test_each_span_has_one_around_it() -> None:
    spans = [new_span(bits) for bits in (1, 2, 2**63 - 1, 2**63 + 5, 2**64 - 4)]
    around = [outer_span(span) for span in spans]
    assert len({*spans, *around}) == 10
    assert outer_span(f"{2**63:016x}") == "0" * 15 + "1"


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
    assert trace == (f"{2**127 + 5:032x}", f"{5:016x}", "00", "")


def test_ids_are_never_all_zero() -> None:
    assert continue_or_start(None, 0)[:2] == ("0" * 31 + "1", "0" * 15 + "1")


def test_a_further_span_is_never_no_span() -> None:
    assert [new_span(bits) for bits in (0, 1, 2**64 - 1)] == ["0" * 15 + "1", "0" * 15 + "1", "f" * 16]
