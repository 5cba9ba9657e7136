"""Which addresses are this host's own. Which are public is tested with the receivers of webhooks."""

import pytest

from gateway.core.public_address import is_loopback


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("LocalHost", True),
        ("127.1", False),
        ("0.0.0.0", False),
        ("", False),
    ],
)
def test_only_addresses_that_surely_are_loopback_count_as_such(host: str, ours: bool) -> None:
    assert is_loopback(host) is ours
