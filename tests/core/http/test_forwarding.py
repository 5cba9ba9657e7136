"""What trusted proxies said and what this hop adds are one line with one reading."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.http.client_address import from_forwarded
from gateway.core.http.forwarding import forwarded, forwarded_for, nearest, said

OURS = b'for=10.0.0.1;proto=http;host="a,b;for=6.6.6.6";by=_gw'


def test_said_is_what_is_not_empty_in_order() -> None:
    fields = ((b"Forwarded", b"for=a"), (b"X", b"y"), (b"FORWARDED", b""), (b"forwarded", b"for=b"))
    assert said(fields, b"forwarded") == [b"for=a", b"for=b"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ([], b""),
        ([b"for=1.1.1.1"], b"for=1.1.1.1, "),
        ([b"for=1.1.1.1,for=2.2.2.2", b'for="[::1]"'], b'for=1.1.1.1, for=2.2.2.2, for="[::1]", '),
        ([b", for=1.1.1.1,,"], b"for=1.1.1.1, "),
        ([b'host="a,b";for=1.1.1.1'], b'host="a,b";for=1.1.1.1, '),
        ([b'for=6.6.6.6;host="', b"for=1.1.1.1"], b"for=1.1.1.1, "),
        ([b'for=6.6.6.6, host="\\', b"for=1.1.1.1"], b"for=1.1.1.1, "),
        ([b"for=1.1.1.1;host=\xe9"], b"for=1.1.1.1;host=\xe9, "),
        ([b'for="1.1.1.1'], b""),
    ],
)
def test_our_element_stands_behind_those_that_leave_no_quote_open(given: list[bytes], kept: bytes) -> None:
    assert forwarded(given, OURS) == kept + OURS


@given(st.lists(st.text('for=1,;"\\ \té').map(lambda text: text.encode("latin-1")), max_size=4))
def test_nothing_hides_our_element_from_either_side(given: list[bytes]) -> None:
    line = forwarded(given, OURS).decode("latin-1")
    assert from_forwarded([line])[-1] == "10.0.0.1"
    assert from_the_left(line)[-1].strip() == OURS.decode()


def from_the_left(line: str) -> list[str]:
    """The elements as a reader finds them that goes through the text once."""
    elements, quoted, escaped = [""], False, False
    for char in line:
        if char == "," and not quoted:
            elements.append("")
            continue
        elements[-1] += char
        if escaped:
            escaped = False
        elif quoted and char == "\\":
            escaped = True
        elif char == '"':
            quoted = not quoted
    return elements


def test_x_forwarded() -> None:
    assert forwarded_for([], b"10.0.0.1") == b"10.0.0.1"
    assert forwarded_for([b"1.1.1.1, 2.2.2.2", b"3.3.3.3"], b"10.0.0.1") == b"1.1.1.1, 2.2.2.2, 3.3.3.3, 10.0.0.1"


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ([], b"http"),
        ([b"https"], b"https"),
        ([b"ftp", b"https"], b"https"),
        ([b"ftp, https "], b"https"),
        ([b"https,"], b"http"),
        ([b"ht tps"], b"http"),
        ([b"https\xe9"], b"http"),
        ([b"a.example:8443"], b"a.example:8443"),
    ],
)
def test_the_nearest_peers_word_counts_if_it_is_one(given: list[bytes], value: bytes) -> None:
    assert nearest(given, b"http") == value
