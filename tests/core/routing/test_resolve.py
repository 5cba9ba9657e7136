"""What ends at this hop although a route would take it."""

from typing import NamedTuple

import pytest
from multidict import CIMultiDict

from gateway.core.access.credentials import Credential
from gateway.core.policy import Match, PathPattern, PolicySet, Route
from gateway.core.problems import Refusal
from gateway.core.routing.resolve import resolve
from gateway.core.upstream import Upstream


class Asked(NamedTuple):
    method: str
    target: str
    headers: CIMultiDict[str]


SHOWN = Credential("key", "up", header="X-Api-Key")


@pytest.mark.parametrize(
    ("method", "hops", "credentials", "passes"),
    [
        ("OPTIONS", "0", (), False),
        ("TRACE", "0", (), False),
        ("OPTIONS", "1", (), True),
        ("OPTIONS", "", (), True),
        ("GET", "0", (SHOWN,), True),
        ("TRACE", "1", (), True),
        ("TRACE", "1", (SHOWN,), False),
        ("OPTIONS", "1", (SHOWN,), True),
    ],
)
def test_what_is_not_passed_on(method: str, hops: str, credentials: tuple[Credential, ...], passes: bool) -> None:
    upstream = Upstream("up", "http", "up.example", 80, "up.example", credentials=credentials)
    policies = PolicySet("0", (Route("all", Match(path=PathPattern(prefix="/")), upstream),), {}, {}, {})
    asked = Asked(method, "/x", CIMultiDict({"Max-Forwards": hops}))
    assert (not isinstance(resolve(policies, asked, "a"), Refusal)) is passes
