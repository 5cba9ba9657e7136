"""What an answer says that a call cost: in a field, in its JSON, in the last event of a stream."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.measure import KEPT_BYTES, MOST_EVENTS, Measure, Source, Tail, field_number

TOTAL = ("usage", "total")
JSON, EVENTS = "application/json", "text/event-stream; charset=utf-8"


def number(body: bytes, content_type: str = JSON, pointer: tuple[str, ...] = TOTAL, piece: int = 7) -> int | None:
    tail = Tail(content_type)
    for at in range(0, len(body), piece):
        tail.feed(body[at : at + piece])
    return tail.number(pointer)


@pytest.mark.parametrize(
    ("value", "said"),
    [("12", 12), (" 12\t", 12), ("0", 0), ("9" * 15, 10**15 - 1)]
    + [(bad, None) for bad in (None, "", "-1", "+1", "1.5", "1, 2", "x", "9" * 16, "\u0661", "\u00b2")],
)
def test_a_field(value: str | None, said: int | None) -> None:
    assert field_number(value) == said


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"usage": {"total": 7}}', 7),
        (b'{"usage": {"total": 0}}', 0),
        (b'{"usage": {"total": 6.2}}', 7),
        (b'{"usage": {"total": 1e3}}', 1000),
        (b'{"usage": {"total": -1}}', None),
        (b'{"usage": {"total": 1e15}}', None),
        (b'{"usage": {"total": 1e999}}', None),
        (b'{"usage": {"total": NaN}}', None),
        (b'{"usage": {"total": "7"}}', None),
        (b'{"usage": {"total": true}}', None),
        (b'{"usage": {"total": null}}', None),
        (b'{"usage": 7}', None),
        (b'{"usage": {}}', None),
        (b"[7]", None),
        (b'{"usage": {"total": 7}', None),
        (b"[" * 60_000, None),
        (b'{"usage": {"total": ' + b"9" * 400 + b"}}", None),
        (b'{"usage": {"total": ' + b"9" * 5000 + b"}}", None),
        (b'{"usage": {"total": Infinity}}', None),
        (b"\xff\xfe", None),
        (b"", None),
    ],
)
def test_a_document(body: bytes, said: int | None) -> None:
    assert number(body) == said


@pytest.mark.parametrize(
    ("pointer", "said"),
    [(("rows", "1", "n"), 5), (("rows", "2", "n"), None), (("rows", "-"), None), (("rows", "\u00b2"), None)],
)
def test_a_place_in_a_list(pointer: tuple[str, ...], said: int | None) -> None:
    assert number(b'{"rows": [{"n": 4}, {"n": 5}]}', pointer=pointer) == said


def test_a_document_that_is_too_large_is_not_kept() -> None:
    body = b'{"usage": {"total": 7}}'
    assert number(body + b" " * (KEPT_BYTES - len(body)), piece=999) == 7
    tail = Tail(JSON)
    for _ in range(3):
        tail.feed(body + b" " * (KEPT_BYTES // 2))
    assert tail.too_large
    assert not Tail(EVENTS).too_large


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("piece", [1, 7, 100_000])
def test_the_last_event_that_says_it(end: bytes, piece: int) -> None:
    lines = [
        b"event: start", b'data: {"usage": {"total": 1}}', b"",
        b": a comment", b"data: {", b'data: "usage": {"total": 42}}', b"",
        b'data: {"text": "usage"}', b"",
        b"data: [DONE]", b"", b"",
    ]  # fmt: skip
    assert number(end.join(lines), EVENTS, piece=piece) == 42


def test_an_event_that_was_not_finished_says_nothing() -> None:
    assert number(b'data: {"usage": {"total": 3}}\n\ndata: {"usage": {"tot', EVENTS) == 3
    assert number(b'data: {"usage": {"total": 3}}', EVENTS) == 3


@pytest.mark.parametrize("empty", [b"data:\n\n", b"data: {}\n\n", b"data: [\n\n"])
def test_only_the_last_hundred_events_are_looked_at(empty: bytes) -> None:
    said = b'data: {"usage": {"total": 7}}\n\n'
    assert number(said + empty * (MOST_EVENTS - 1), EVENTS) == 7
    assert number(said + empty * MOST_EVENTS, EVENTS) is None


def test_of_a_long_stream_the_end_is_kept() -> None:
    body = b'data: {"usage": {"total": 1}}\n\n' + b'data: {"text": "x"}\n\n' * 5_000
    assert number(body, EVENTS) is None
    assert number(body + b'data: {"usage": {"total": 2}}\n\n', EVENTS, piece=KEPT_BYTES * 2) == 2


@given(st.lists(st.binary(max_size=40), max_size=20), st.sampled_from([JSON, EVENTS, ""]))
def test_whatever_a_body_is_it_is_a_number_or_none(pieces: list[bytes], content_type: str) -> None:
    tail = Tail(content_type)
    for piece in pieces:
        tail.feed(piece)
    assert tail.number(()) is None or tail.number(()) >= 0  # type: ignore[operator]


def test_a_bound() -> None:
    assert Measure(Source.BYTES, most=5).bounded(9) == 5
    assert Measure(Source.BYTES).bounded(9) == 9
