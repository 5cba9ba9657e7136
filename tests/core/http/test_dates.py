"""Moments as they are written: in the `Date` field of answers that are made here, and in documents."""

from gateway.core.http.timestamps import DateLine, rfc3339


def test_the_date_line_is_of_this_second() -> None:
    line = DateLine()
    for at_s, said in (
        (0, b"Thu, 01 Jan 1970 00:00:00"),
        (1792576805, b"Wed, 21 Oct 2026 10:00:05"),
        (0, b"Thu, 01 Jan 1970 00:00:00"),
    ):
        assert line.at(at_s) == line.at(at_s) == b"Date: %b GMT\r\n" % said


def test_a_moment_is_written_to_the_millisecond() -> None:
    assert rfc3339(1_792_576_805_123_000) == "2026-10-21T10:00:05.123Z"
    assert rfc3339(0) == "1970-01-01T00:00:00.000Z"
