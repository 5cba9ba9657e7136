"""The amounts that a stream of events says: each as the last event has it, however the stream is cut."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.event_stream import EVENT_BYTES, MOST_EVENTS, Amounts

IN, OUT = ("message", "usage", "input_tokens"), ("usage", "output_tokens")
MESSAGES = (
    b"event: message_start\n"
    b'data: {"type":"message_start","message":{"content":[],"usage":{"input_tokens":25,"output_tokens":1}}}\n\n'
    b'event: ping\ndata: {"type":"ping"}\n\n'
    b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"text":"\\"output_tokens\\": 9"}}\n\n'
    b'event: message_delta\ndata: {"type":"message_delta","delta":{},"usage":{"output_tokens":8}}\n\n'
    b'event: message_delta\ndata: {"type":"message_delta","delta":{},"usage":{"output_tokens":15}}\n\n'
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
)


def heard(body: bytes, *pointers: tuple[str, ...], piece: int = 7) -> list[int | None]:
    amounts = Amounts(pointers)
    for start in range(0, len(body), piece):
        amounts.feed(body[start : start + piece])
    return [amounts.last(pointer) for pointer in pointers]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("piece", [1, 2, 3, 7, 64, 100_000])
def test_what_the_first_and_what_the_last_events_say(end: bytes, piece: int) -> None:
    assert heard(MESSAGES.replace(b"\n", end), IN, OUT, piece=piece) == [25, 15]


def test_however_much_comes_between() -> None:
    between = b'data: {"type":"content_block_delta","delta":{"text":"abc"}}\n\n' * 5_000
    start, rest = MESSAGES.split(b"event: ping")
    assert heard(start + between + b"event: ping" + rest, IN, OUT, piece=16_384) == [25, 15]


@pytest.mark.parametrize("piece", [1, 100_000])
def test_an_event_of_several_lines(piece: int) -> None:
    body = b': a comment\ndata: {\nid: 7\ndata: "usage": {"output_tokens": 42}}\n\ndata: {"output_tokens": 1}\n\n'
    assert heard(body, OUT, IN, piece=piece) == [42, None]


def test_an_event_that_nothing_ended() -> None:
    said = b'data: {"usage": {"output_tokens": 3}}'
    assert heard(said, OUT) == heard(said + b"\n\n" + said[:-5], OUT) == [3]
    assert heard(said + b'\n\ndata: {"usage": {"output_tokens": 4}}\n', OUT) == [4]


def test_an_event_that_is_too_large_says_nothing() -> None:
    said, large = (
        b'data: {"usage": {"output_tokens": 3}}\n\n',
        b'data: {"usage": {"output_tokens": 4}, "text": "%b"}\n\n',
    )
    fits = large % (b"x" * (EVENT_BYTES - len(large) + 4))
    for piece in (1000, EVENT_BYTES, 10**6):
        assert heard(said + fits, OUT, piece=piece) == [4]
        assert heard(said + large % (b"x" * EVENT_BYTES), OUT, piece=piece) == [3]
        assert heard(large % (b"x" * 5 * EVENT_BYTES) + said, OUT, piece=piece) == [3]
        assert heard(said + large % (b"x" * 5 * EVENT_BYTES) + b"\n", OUT, piece=piece) == [3]
        assert heard(said + (large % (b"x" * 5 * EVENT_BYTES))[:-2], OUT, piece=piece) == [3]


def test_of_one_piece_the_last_events_are_parsed() -> None:
    said, other = b'data: {"usage": {"output_tokens": 7}}\n\n', b'data: ["output_tokens"]\n\n'
    assert heard(said + other * (MOST_EVENTS - 1), OUT, piece=10**6) == [7]
    assert heard(said + other * MOST_EVENTS, OUT, piece=10**6) == [None]
    assert heard(said + b'data: ["other"]\n\n' * MOST_EVENTS, OUT, piece=10**6) == [7]


@pytest.mark.parametrize("pointer", [("0",), ("1", "n\u00fcmber"), ("a/b", "0"), ()])
def test_places_whose_name_may_stand_there_in_other_words(pointer: tuple[str, ...]) -> None:
    value: object = 5
    for token in reversed(pointer):
        value = [value] if token == "0" else {token: value}
    assert heard(b"data: %b\n\n" % json.dumps(value).encode(), pointer) == [5]


def test_nobody_asks_for_anything() -> None:
    assert heard(MESSAGES) == []


@given(
    st.lists(st.integers(0, 50) | st.none(), max_size=8), st.integers(1, 90), st.sampled_from([b"\n", b"\r\n", b"\r"])
)
def test_the_last_amount_wins(amounts: list[int | None], piece: int, end: bytes) -> None:
    events = [{"usage": {"output_tokens": amount}, "text": "\n\n"} for amount in amounts]
    body = b"".join(b"data: %b" % json.dumps(event).encode() + end * 2 for event in events)
    known = [amount for amount in amounts if amount is not None]
    assert heard(body, OUT, piece=piece) == [known[-1] if known else None]


@given(st.lists(st.binary(max_size=40) | st.sampled_from([b"data:", b"\n", b"\r", b'"output_tokens"']), max_size=20))
def test_whatever_a_stream_is(pieces: list[bytes]) -> None:
    amounts = Amounts([OUT])
    for piece in pieces:
        amounts.feed(piece)
    assert (amounts.last(OUT) or 0) >= 0
