"""What the JSON of a body says at a place, compressed or not; and that no body does harm."""

import gzip
import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.document import Unpacking, amount_at, at, decoded, loaded

TEXT = b'{"ok": false}'
MOST = 1000
DEFLATED = zlib.compress(TEXT)


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        *[(TEXT, coding) for coding in ("", "identity", " Identity ")],
        *[(gzip.compress(TEXT, mtime=0), coding) for coding in ("gzip", "x-gzip", "GZIP")],
        (DEFLATED, "deflate"),
    ],
)
def test_codings_that_are_understood(body: bytes, coding: str) -> None:
    assert decoded(body, coding, MOST) == TEXT
    assert decoded(bytearray(body), coding, len(TEXT)) == TEXT
    assert decoded(body, coding, len(TEXT) - 1) is None
    unpacking = Unpacking(coding)
    assert b"".join(piece for byte in body for piece in unpacking.feed(bytes([byte]))) == TEXT


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "compress", "gzip;q=1"])
def test_codings_that_are_not(coding: str) -> None:
    unpacking = Unpacking(coding)
    assert (decoded(TEXT, coding, MOST), [*unpacking.feed(TEXT)], unpacking.broken) == (None, [], True)


@pytest.mark.parametrize(
    "body", [b"", TEXT, gzip.compress(TEXT, mtime=0)[:-3], DEFLATED, gzip.compress(b"x" * 10_000_000, mtime=0)]
)
def test_what_cannot_be_decoded(body: bytes) -> None:
    """The last one is small and would become ten thousand times as large as allowed."""
    assert decoded(body, "gzip", MOST) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b"[1]", [1]),
        *[(bad, None) for bad in (b"", b"\xff", b"{", b"[" * 60_000, b"9" * 5000, b"null")],
    ],
)
def test_documents(text: bytes, value: Any) -> None:
    assert loaded(text) == value


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ((), {"rows": [{"n": 4}, {"n": 5}], "": 0}),
        (("rows", "1", "n"), 5),
        (("",), 0),
        *[(("rows", token), None) for token in ("2", "-", "-1", "\u00b2", "n", "")],
        (("rows", "0", "n", "n"), None),
        (("none", "1"), None),
    ],
)
def test_places(pointer: tuple[str, ...], value: Any) -> None:
    assert at({"rows": [{"n": 4}, {"n": 5}], "": 0}, pointer) == value


@pytest.mark.parametrize(
    ("value", "amount"),
    [(b"7", 7), (b"0", 0), (b"6.2", 7), (b"1e3", 1000)]
    + [(bad, None) for bad in (b"-1", b"1e15", b"1e999", b"NaN", b"Infinity", b'"7"', b"true", b"null", b"{}")],
)
def test_amounts(value: bytes, amount: int | None) -> None:
    assert amount_at(loaded(b'{"n": %b}' % value), ("n",)) == amount


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES, st.lists(st.text(max_size=3) | st.sampled_from("0123-"), max_size=4).map(tuple))
def test_whatever_is_asked_of_whatever_document(value: Any, pointer: tuple[str, ...]) -> None:
    assert loaded(json.dumps(value).encode()) == value
    found = at(value, pointer)
    assert pointer or found == value
    assert (amount_at(value, pointer) or 0) >= 0


@given(st.binary(max_size=200), st.sampled_from(["", "gzip", "deflate", "br"]))
def test_whatever_a_body_is(body: bytes, coding: str) -> None:
    text = decoded(body, coding, 100)
    assert text is None or len(text) <= 100
    loaded(body)
