"""Which words of a store name a mistake of set-up."""

import pytest

from gateway.core.store_faults import is_lasting


@pytest.mark.parametrize(
    ("detail", "lasting"),
    [
        ("WRONGPASS invalid username-password pair", True),
        ("127.0.0.1:6379: This instance has cluster support disabled", True),
        ("Error 1 connecting to h:6379. [SSL: CERTIFICATE_VERIFY_FAILED] certificate has expired.", True),
        ("DENIED Redis is running in protected mode.", True),
        ("the connection was lost", False),
        ("", False),
    ],
)
def test_no_waiting_mends_a_mistake_of_set_up(detail: str, lasting: bool) -> None:
    assert is_lasting(detail) == lasting
