"""The `Date` field of answers that are made here."""

from gateway.core.http.timestamps import DateLine


def test_the_date_line_is_of_this_second() -> None:
    line = DateLine()
    for at_s, said in (
        (0, b"Thu, 01 Jan 1970 00:00:00"),
        (1792576805, b"Wed, 21 Oct 2026 10:00:05"),
        (0, b"Thu, 01 Jan 1970 00:00:00"),
    ):
        assert line.at(at_s) == line.at(at_s) == b"Date: %b GMT\r\n" % said
