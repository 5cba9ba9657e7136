"""What an answer says that a call cost: in a field, in its JSON, in the events of a stream."""

import gzip
import zlib
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.measure import KEPT_BYTES, Heard, Measure, Source, Sums, field_number

TOTAL, INPUT, BEGUN, OUTPUT = ("usage", "total"), ("usage", "input"), ("message", "usage", "input"), ("usage", "output")
JSON, EVENTS = "application/json", "text/event-stream; charset=utf-8"
ONE: Sums = ((TOTAL,),)
BOTH: Sums = ((INPUT, BEGUN), (OUTPUT,))


def hear(body: bytes, content_type: str = JSON, coding: str = "", piece: int = 7, sums: Sums = ONE) -> Heard:
    heard = Heard(content_type, coding, {pointer for places in sums for pointer in places})
    for start in range(0, len(body), piece):
        heard.feed(body[start : start + piece])
    return heard


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
        (b'{"usage": {"total": 6.2}}', 7),
        (b'{"usage": {"total": "7"}}', None),
        (b'{"usage": {}}', None),
        (b'{"usage": {"total": 7}', None),
        (b"[" * 60_000, None),
        (b"", None),
    ],
)
def test_a_document(body: bytes, said: int | None) -> None:
    assert hear(body).total(ONE) == said


@pytest.mark.parametrize(
    ("body", "said", "at_least"),
    [
        (b'{"usage": {"input": 20, "output": 3}}', 23, 23),
        (b'{"message": {"usage": {"input": 9}}, "usage": {"output": 3}}', 12, 12),
        (b'{"message": {"usage": {"input": 9}}, "usage": {"input": 0, "output": 3}}', 3, 3),
        (b'{"usage": {"output": 3}}', None, 3),
        (b'{"usage": {"input": 20, "output": null}}', None, 20),
        (b'{"usage": {"input": 600000000000000, "output": 400000000000000}}', None, None),
        (b"{}", None, None),
    ],
)
def test_a_sum(body: bytes, said: int | None, at_least: int | None) -> None:
    for content_type, text in ((JSON, body), (EVENTS, b"data: %b\n\n" % body)):
        heard = hear(text, content_type, sums=BOTH)
        assert (heard.total(BOTH), heard.total(BOTH, cut=True)) == (said, at_least)


def test_a_sum_over_the_events_of_a_stream() -> None:
    body = b'data: {"message": {"usage": {"input": 20, "output": 1}}}\n\n'
    assert hear(body, EVENTS, sums=BOTH).total(BOTH, cut=True) == 20
    body += b'data: {"usage": {"output": 3}}\n\ndata: {"usage": {"output": 8}}\n\n'
    assert hear(body, EVENTS, sums=BOTH).total(BOTH) == 28
    body += b'data: {"usage": {"input": 22, "output": 8}}\n\n'
    assert hear(body, EVENTS, sums=BOTH).total(BOTH) == 30


def test_a_document_that_is_too_large_is_not_kept() -> None:
    body = b'{"usage": {"total": 7}}'
    assert hear(body + b" " * (KEPT_BYTES - len(body)), piece=999).total(ONE) == 7
    large = hear((body + b" " * (KEPT_BYTES // 2)) * 3, piece=20_000)
    assert (large.too_large, len(large.document) <= KEPT_BYTES) == (True, True)
    assert not hear(b": \n" * KEPT_BYTES, EVENTS, piece=999).too_large


def test_compressed_documents() -> None:
    body = b'{"usage": {"total": 7}}'
    packed = hear(gzip.compress(body), coding="gzip")
    assert (packed.readable, packed.total(ONE)) == (True, 7)
    assert hear(gzip.compress(body + b" " * KEPT_BYTES), coding="gzip").total(ONE) is None
    assert not hear(body, coding="br").readable


def packed(events: Iterable[bytes], form: int = 31) -> bytes:
    """As a server does that sends each event at once."""
    packer = zlib.compressobj(wbits=form)
    return b"".join(packer.compress(one) + packer.flush(zlib.Z_SYNC_FLUSH) for one in events) + packer.flush()


@pytest.mark.parametrize(("coding", "form"), [("gzip", 31), ("deflate", 15)])
@pytest.mark.parametrize("piece", [1, 50, 10**6])
def test_compressed_streams(coding: str, form: int, piece: int) -> None:
    events = [
        b'data: {"choices": [{"delta": {"content": "%d"}}], "usage": null}\n\n' % number for number in range(5_000)
    ]
    body = packed([*events, b'data: {"usage": {"total": 7}}\n\n'], form)
    heard = hear(body, EVENTS, coding, piece)
    assert (heard.readable, heard.too_large, heard.total(ONE)) == (True, False, 7)
    assert hear(body[:-9], EVENTS, coding, piece).total(ONE) == 7, "its end need not come"


def test_streams_that_cannot_be_unpacked() -> None:
    body = gzip.compress(b'data: {"usage": {"total": 7}}\n\n')
    for broken, coding in ((body[:12] + b"\xff" + body[13:], "gzip"), (b"data: 1\n\n", "gzip"), (body, "br")):
        assert not hear(broken, EVENTS, coding).readable
    assert hear(b'data: {"usage": {"total": 7}}', EVENTS, "identity").total(ONE) == 7


@pytest.mark.parametrize("piece", [100, 10**6])
def test_a_stream_that_becomes_a_thousand_times_as_much(piece: int) -> None:
    assert hear(gzip.compress(b"\n" * 10**8), EVENTS, "gzip", piece).too_large


@given(
    st.lists(st.binary(max_size=40), max_size=20), st.sampled_from([JSON, EVENTS, ""]), st.sampled_from(["", "gzip"])
)
def test_whatever_a_body_is_it_is_a_number_or_none(pieces: list[bytes], content_type: str, coding: str) -> None:
    heard = Heard(content_type, coding, [()])
    for piece in pieces:
        heard.feed(piece)
    assert (heard.total((((),),)) or 0) >= 0


def test_a_bound() -> None:
    assert Measure(Source.BYTES, most=5).bounded(9) == 5
    assert Measure(Source.BYTES).bounded(9) == 9
