"""Whose a connection is of which only its name was said."""

import pytest

from gateway.core.connections.names import as_said, name_of, owners


@pytest.mark.parametrize(
    ("tenants", "found"),
    [([], [""]), (["acme"], ["acme"]), (["b", "a", "b"], ["a", "b"]), (["acme", ""], [""]), ([""], [""])],
)
def test_who_is_known_to_have_it(tenants: list[str], found: list[str]) -> None:
    assert owners(name_of(tenant, "c1") for tenant in tenants) == found


@pytest.mark.parametrize("tenant", ["acme", "ac-me", "my key-1", "t#1", "é"])
def test_what_calls_say(tenant: str) -> None:
    assert as_said(name_of(tenant, "c1").tenant) == tenant


@pytest.mark.parametrize("tenant", ["x" * 200, "\udce9", "back\\slash", "key-of-somebody"])
def test_what_is_known_by_something_else_cannot_be_said(tenant: str) -> None:
    assert as_said(name_of(tenant, "c1").tenant) == ""
