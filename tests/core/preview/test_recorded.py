"""What lines do not tell of calls, and what is made of policies that ask for it."""

from dataclasses import replace

from gateway.core.access.credentials import Credential
from gateway.core.access.hidden import Hidden
from gateway.core.caller import ask_for
from gateway.core.keys import KeyFrom, KeyPart, OnMissing
from gateway.core.limits import Algorithm, Limit
from gateway.core.policy import Match, PolicySet, Route
from gateway.core.preview.recorded import as_told, nothing_assumed, recorded, untold
from gateway.core.problems import Refusal
from gateway.core.upstream import Upstream

TENANT = KeyPart("tenant", KeyFrom.JWT, "org", OnMissing.REJECT)
PLAN = KeyPart("plan", KeyFrom.HEADER, "x-plan", OnMissing.REJECT)
PART = KeyPart("part", KeyFrom.PATH, "part", OnMissing.REJECT)
ADDRESS = KeyPart("address", KeyFrom.CLIENT_IP, "", OnMissing.REJECT)
LIMIT = Limit("by-plan", Algorithm.ROLLING_WINDOW, 5, 60_000_000, ("plan",))
UP = Upstream("up", "http", "up.example", 80, "up.example")
OURS = Credential("ours", "up", (("plan", "gold"),), "X-Key", "", Hidden("k"), "header")


def a_set(upstream: Upstream) -> PolicySet:
    keys = {part.name: part for part in (TENANT, PLAN, PART, ADDRESS)}
    route = Route("r", Match(), upstream, (LIMIT,), (PLAN,))
    return PolicySet("0", (route,), {LIMIT.name: LIMIT}, keys, {"up": upstream})


def test_what_is_not_told_is_not_taken_to_be_missing() -> None:
    policies = a_set(replace(UP, credentials=(OURS,)))
    assert untold(policies) == {"plan"}
    told = as_told(policies)
    assert {name for name, part in told.keys.items() if part.on_missing is OnMissing.REJECT} == {
        "tenant",
        "part",
        "address",
    }
    assert isinstance(ask_for(policies, policies.routes[0], None, {"plan": None}), Refusal)
    asked = ask_for(told, told.routes[0], None, {"plan": None})
    assert not isinstance(asked, Refusal)
    assert not asked.charges


def test_credentials_by_what_is_told_are_needed_as_ever() -> None:
    policies = a_set(replace(UP, credentials=(replace(OURS, match=(("part", "1"),)),)))
    assert as_told(policies).routes[0] is policies.routes[0]


def test_a_webhook_that_came_in_is_no_call() -> None:
    line = {"event_name": "http.access", "method": "POST", "path": "/hooks/crm"}
    assert recorded({**line, "route": "crm"}, nothing_assumed) is not None
    assert recorded({**line, "route": "intake:crm"}, nothing_assumed) is None
