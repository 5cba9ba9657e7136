"""What of a webhook's fields goes along to services."""

import pytest
from multidict import CIMultiDict

from gateway.modules.intake.desk import passed_on


def test_a_field_in_several_lines_is_passed_on_whole() -> None:
    came = CIMultiDict([("X-Tag", "a"), ("x-tag", "b"), ("X-Event", "created")])
    assert passed_on(came) == {"x-tag": "a, b", "x-event": "created"}


def test_what_belongs_to_the_connection_stays_here_in_whichever_line_that_is_said() -> None:
    came = CIMultiDict([("Connection", "close"), ("connection", "X-Hop"), ("X-Hop", "1"), ("X-Far", "2")])
    assert passed_on(came) == {"x-far": "2"}


@pytest.mark.parametrize(("came", "goes"), [("Zoë", "Zoë"), ("東京", "東京"), ("caf\udce9", "café"), ("a\tb", "a\tb")])
def test_letters_of_any_kind_are_passed_on(came: str, goes: str) -> None:
    """Text as requests are read: bytes that are no UTF-8 are surrogates in it."""
    assert passed_on(CIMultiDict({"X-Name": came})) == {"x-name": goes}
