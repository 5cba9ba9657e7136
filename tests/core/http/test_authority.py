"""Hosts and ports, as URLs have them."""

import pytest

from gateway.core.http.authority import authority


@pytest.mark.parametrize(
    ("host", "port", "text"),
    [
        ("api.example", 80, "api.example:80"),
        ("192.0.2.1", None, "192.0.2.1"),
        ("2001:db8::1", 80, "[2001:db8::1]:80"),
        ("::1", None, "[::1]"),
    ],
)
def test_ipv6_stands_in_brackets(host: str, port: int | None, text: str) -> None:
    assert authority(host, port) == text
