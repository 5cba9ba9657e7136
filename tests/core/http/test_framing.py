"""Body framing: any split of the same bytes gives the same payload; anything ambiguous is refused."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.http.framing import (
    MAX_SIZE_LINE_BYTES,
    MAX_TRAILER_BYTES,
    BadFraming,
    ChunkedBody,
    CloseDelimited,
    Decoder,
    LengthBody,
    NoBody,
)


def feed_split(decoder: Decoder, data: bytes, cuts: list[int]) -> tuple[bytes, bytes]:
    """Feed `data` cut at the given places: (payload, what lies behind the body)."""
    payload, rest = b"", b""
    edges = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    for start, stop in pairwise(edges):
        if decoder.done:
            rest += data[start:stop]
            continue
        pieces, behind = decoder.feed(data[start:stop])
        payload += b"".join(pieces)
        rest += behind
    return payload, rest


def encode(chunks: list[bytes], trailers: bytes = b"") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(c), c) for c in chunks if c) + b"0\r\n" + trailers + b"\r\n"


cuts = st.lists(st.integers(0, 400), max_size=12)


@given(st.lists(st.binary(max_size=80), max_size=5), st.binary(max_size=30), cuts)
def test_chunked_payload_does_not_depend_on_where_reads_end(chunks: list[bytes], behind: bytes, at: list[int]) -> None:
    decoder = ChunkedBody()
    payload, rest = feed_split(decoder, encode(chunks) + behind, at)
    assert decoder.done
    assert (payload, rest) == (b"".join(chunks), behind)


@given(
    st.lists(st.tuples(st.binary(min_size=1, max_size=20), st.sampled_from([b"%x", b"%X", b"0%x", b"%x;a=b", b"%x "]))),
    st.sampled_from([b"", b"5\n", b"1\r", b"5", b"0\r\n", b"\r\n", b"3\r\nabcX\r\n"]),
    cuts,
)
def test_runs_of_small_chunks(chunks: list[tuple[bytes, bytes]], end: bytes, at: list[int]) -> None:
    """Small chunks that arrive together are taken together; how the sizes are written and what follows decides nothing."""
    wire = b"".join(size % len(chunk) + b"\r\n" + chunk + b"\r\n" for chunk, size in chunks)
    expected = b"".join(chunk for chunk, _ in chunks)
    whole, split = ChunkedBody(), ChunkedBody()
    assert feed_split(split, wire, at) == feed_split(whole, wire, []) == (expected, b"")
    outcomes = []
    for decoder, where in ((ChunkedBody(), []), (ChunkedBody(), at), (ChunkedBody(), list(range(400)))):
        try:
            outcomes.append((*feed_split(decoder, wire + end, where), decoder.done))
        except BadFraming as error:
            outcomes.append(str(error))  # type: ignore[arg-type]
    assert outcomes[0] == outcomes[1] == outcomes[2]


@given(st.binary(min_size=1, max_size=200), st.binary(max_size=30), cuts)
def test_length_takes_exactly_its_bytes(body: bytes, behind: bytes, at: list[int]) -> None:
    decoder = LengthBody(len(body))
    assert feed_split(decoder, body + behind, at) == (body, behind)
    assert decoder.done


@given(st.binary(max_size=60), cuts)
def test_chunked_never_raises_anything_else(data: bytes, at: list[int]) -> None:
    decoder = ChunkedBody()
    try:
        feed_split(decoder, data, at)
    except BadFraming:
        assert not decoder.done


def test_trailers_and_extensions() -> None:
    decoder = ChunkedBody()
    wire = b"3;name=value\r\nabc\r\n0\r\nX-Sum: 1 \r\nX-Two:\t\xe9\r\n\r\nGET"
    assert decoder.feed(wire) == ([b"abc"], b"GET")
    assert decoder.trailers == ((b"X-Sum", b"1"), (b"X-Two", b"\xe9"))
    assert decoder.feed_eof()


@pytest.mark.parametrize(
    ("wire", "reason"),
    [
        (b"5\nhello", "bare LF"),
        (b"5\r\r\nhello", "malformed chunk size line"),
        (b"5\rx", "bare CR"),
        (b"+5\r\nhello", "malformed chunk size line"),
        (b"-5\r\nhello", "malformed chunk size line"),
        (b"0x5\r\nhello", "malformed chunk size line"),
        (b" 5\r\nhello", "malformed chunk size line"),
        (b"\r\n", "malformed chunk size line"),
        (b"5_0\r\n", "malformed chunk size line"),
        (b"\xd9\xa5\r\n", "malformed chunk size line"),
        (b"1000000000000000f\r\n", "malformed chunk size line"),
        (b"5;a=\x00\r\nhello", "malformed chunk size line"),
        (b"5;a\nb\r\nhello", "bare LF"),
        (b"5\r\nhelloX\r\n", "chunk longer than its size"),
        (b"6\r\nhel\r\n0\r\n5\n", "bare LF"),
        (b"5\r\nhello\n", "bare LF"),
        (b"0\r\nNo colon\r\n\r\n", "malformed trailer field"),
        (b"0\r\n folded: 1\r\n\r\n", "malformed trailer field"),
        (b"0\r\nA : 1\r\n\r\n", "malformed trailer field"),
        (b"0\r\nA: b\x00\r\n\r\n", "malformed trailer field"),
        (b"1;" + b"x" * MAX_SIZE_LINE_BYTES, "chunk size line too long"),
        (b"0\r\n" + b"A: b\r\n" * (MAX_TRAILER_BYTES // 5), "trailer section too large"),
    ],
)
def test_ambiguous_chunked_is_refused(wire: bytes, reason: str) -> None:
    with pytest.raises(BadFraming, match=reason):
        ChunkedBody().feed(wire)


def test_the_longest_size_line_that_is_taken() -> None:
    longest = b"1;" + b"x" * (MAX_SIZE_LINE_BYTES - 4) + b"\r\n"
    assert ChunkedBody().feed(longest + b"a\r\n0\r\n\r\n") == ([b"a"], b"")
    with pytest.raises(BadFraming, match="too long"):
        ChunkedBody().feed(b"1;x" + longest[2:])


def test_end_of_the_socket_completes_only_close_delimited_bodies() -> None:
    assert not ChunkedBody().feed_eof()
    assert not LengthBody(3).feed_eof()
    assert LengthBody(0).feed_eof()
    assert NoBody().feed_eof()
    body = CloseDelimited()
    assert body.feed(b"abc") == ([b"abc"], b"")
    assert not body.done
    assert body.feed_eof()
    assert body.done


def test_a_length_is_taken_piece_by_piece_and_what_lies_behind_it_is_left() -> None:
    body = LengthBody(4)
    assert body.feed(b"a") == ([b"a"], b"")
    assert not body.done
    assert body.feed(b"bcdnext") == ([b"bcd"], b"next")
    assert body.done


def test_no_body_leaves_everything() -> None:
    assert NoBody().feed(b"next") == ([], b"next")
