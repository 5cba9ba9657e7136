"""Which fields pass between hops, and the heads written from them."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.http import fields

SOME = ((b"X-One", b"1"), (b"x-TWO", b"\xe9\xff"), (b"X-One", b"2"), (b"Connection", b"close"))


def test_order_case_repeats_and_bytes_survive() -> None:
    head = fields.response_head(299, "Odd \udce9", SOME, fields.HOP_BY_HOP, b"")
    assert head == b"HTTP/1.1 299 Odd \xe9\r\nX-One: 1\r\nx-TWO: \xe9\xff\r\nX-One: 2\r\n\r\n"
    assert fields.keep(SOME, {b"x-one"}) == [SOME[1], SOME[3]]
    assert fields.text(SOME[:1]) == b"X-One: 1\r\n"


def test_connection_removes_what_it_names_but_not_who_is_calling() -> None:
    named = fields.connection_named(
        "close, X-Debug , X-Forwarded-For,Authorization, X-Tenant, keep-alive,", {b"x-tenant"}
    )
    assert named == {b"x-debug"}
    assert fields.connection_named("keep-alive", ()) == frozenset()


def test_tokens() -> None:
    assert fields.tokens(" Trailers ,, gzip;q=1") == ["trailers", "gzip;q=1"]


@given(st.binary(max_size=80))
def test_lower_is_lower_for_every_name(name: bytes) -> None:
    assert fields.lower[name] == fields.lower[name] == name.lower()


def test_remembered_names_are_bounded() -> None:
    for number in range(3000):
        assert fields.lower[b"X-%d" % number] == b"x-%d" % number
    assert len(fields.lower) <= fields.lower.max_names


def test_chunks_end_with_the_trailers_that_may_pass() -> None:
    assert fields.chunk(b"x" * 17) == b"11\r\n" + b"x" * 17 + b"\r\n"
    assert fields.chunk(b"") == b""
    assert fields.last_chunk(()) == b"0\r\n\r\n"
    trailers = ((b"X-Sum", b"1"), (b"Content-Length", b"9"), (b"SET-COOKIE", b"a"))
    assert fields.last_chunk(trailers) == b"0\r\nX-Sum: 1\r\n\r\n"
