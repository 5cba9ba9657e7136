"""The policies that come with the gateway do what they say, decided by the core on a clock of the test's own."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from gateway.core.ask import Ask
from gateway.core.keys import OnMissing, partition_key, read_key
from gateway.core.limits import Charge, Decision, Mode
from gateway.core.policy import PolicySet
from gateway.core.routing.match import find_operation, find_route
from gateway.policy import check
from gateway.policy.shipped import shipped
from gateway.store.local.store import LocalStore

EXAMPLES = ["starter", "vendor-a-integration-platform", "vendor-b-crm", "vendor-c-psa"]
MINUTE_US = 60_000_000


class Caller:
    """Sends calls through a policy set the way the gateway does, without the network."""

    def __init__(self, policies: PolicySet) -> None:
        self.policies = policies
        self.now_us = 1_000_000_000_000_000
        self.store = LocalStore(lambda: self.now_us)
        self.calls = 0

    def charges(self, method: str, path: str, headers: Mapping[str, str]) -> list[Charge] | str:
        """What the limits are asked, or the key part whose absence is refused."""
        found = find_route(self.policies, method, "gateway.example", path, headers)
        assert found is not None
        route, parameters = found
        operation = find_operation(route, method, path.removeprefix(route.strip_prefix) or "/", headers)
        costs = operation.cost if operation else {}
        parts = {part.name: read_key(part, headers, parameters, "", "192.0.2.1") for part in route.keys}
        charges: list[Charge] = []
        for limit in route.limits:
            missing = [self.policies.keys[name] for name in limit.key if parts[name] is None]
            if any(part.on_missing is OnMissing.REJECT for part in missing):
                return missing[0].name
            if any(part.on_missing is OnMissing.SKIP for part in missing):
                continue
            mine = limit.for_caller(parts)
            asked = [one for one in (mine, mine.shadow) if one is not None and one.mode is not Mode.OFF]
            charges += [Charge(one, partition_key(one, parts), costs.get(limit.name, 1)) for one in asked]
        return charges

    async def call(self, method: str, path: str, **headers: str) -> Decision:
        charges = self.charges(method, path, {f"x-{name}-id": value for name, value in headers.items()})
        assert isinstance(charges, list)
        self.calls += 1
        return await self.store.admit(Ask(charges), f"call-{self.calls}")

    async def admitted(self, times: int, method: str, path: str, **headers: str) -> int:
        return sum([(await self.call(method, path, **headers)).admitted for _ in range(times)])


@pytest.fixture
def caller_of() -> Callable[[str], Caller]:
    def of(name: str) -> Caller:
        report = check([shipped(f"policies/{name}.yaml")])
        assert report.errors == ()
        assert report.policies is not None
        return Caller(report.policies)

    return of


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_without_fault(name: str) -> None:
    report = check([shipped(f"policies/examples/{name}.yaml")])
    assert report.errors == ()
    assert report.warnings == ()


def test_the_directory_that_runs_by_default_is_the_default_policy_alone() -> None:
    report = check([shipped("policies")])
    assert (report.errors, report.warnings) == ((), ())
    assert report.policies is not None
    assert [Path(file).name for file in report.policies.files] == ["default.yaml"]


def test_every_shipped_policy_is_known_to_these_tests() -> None:
    assert sorted(path.stem for path in shipped("policies/examples").glob("*.yaml")) == EXAMPLES


async def test_default_lets_a_bare_call_through_and_counts_it(caller_of: Callable[[str], Caller]) -> None:
    caller = caller_of("default")
    assert await caller.admitted(501, "GET", "/") == 500
    assert await caller.admitted(1, "GET", "/", tenant="acme") == 1


async def test_default_protects_a_connection_without_charging_the_tenant(caller_of: Callable[[str], Caller]) -> None:
    caller = caller_of("default")
    assert await caller.admitted(25, "GET", "/", tenant="acme", connection="c1") == 20
    decision = await caller.call("GET", "/", tenant="acme", connection="c2")
    assert decision.verdicts[0].remaining == 500 - 21
    caller.now_us += 1_000_000
    assert await caller.admitted(2, "GET", "/", tenant="acme", connection="c1") == 1


async def test_vendor_a_counts_per_connection_and_per_account(caller_of: Callable[[str], Caller]) -> None:
    caller = caller_of("examples/vendor-a-integration-platform")
    path = "/integrations/vendor/7"
    assert caller.charges("GET", path, {"x-account-id": "a"}) == "connection"
    assert caller.charges("GET", path, {"x-connection-id": "c"}) == "account"
    assert await caller.admitted(9, "GET", path, account="a", connection="c1") == 8  # parallel slots
    assert await caller.admitted(9, "GET", path, account="a", connection="c2") == 8
    decision = await caller.call("GET", path, account="a", connection="c3")
    account, variant, *_ = decision.verdicts
    assert (account.remaining, variant.remaining) == (600 - 17, 400 - 17)


async def test_vendor_a_batches_cost_five_of_the_connection(caller_of: Callable[[str], Caller]) -> None:
    caller = caller_of("examples/vendor-a-integration-platform")
    batch = "/integrations/product/batch"
    assert await caller.admitted(5, "POST", batch, account="a", connection="c") == 4
    caller.now_us += 5_000_000
    assert await caller.admitted(2, "POST", batch, account="a", connection="c") == 1


async def test_vendor_a_has_customers_with_more_and_one_without_limit(caller_of: Callable[[str], Caller]) -> None:
    caller = caller_of("examples/vendor-a-integration-platform")
    big = await caller.call("GET", "/integrations/x", account="acc-high-volume", connection="c")
    assert big.verdicts[0].remaining == 2999
    charges = caller.charges("GET", "/integrations/x", {"x-account-id": "acc-monitoring", "x-connection-id": "c"})
    assert [charge.limit.name for charge in charges if isinstance(charge, Charge)] == [
        "connection-1m",
        "connection-parallel",
    ]


async def test_vendor_b_counts_by_credential_and_searches_cost_more(caller_of: Callable[[str], Caller]) -> None:
    caller = caller_of("examples/vendor-b-crm")
    headers = {"x-tenant-id": "acme", "authorization": "Bearer s3cret"}
    charges = caller.charges("GET", "/crm/deals/search", headers)
    assert isinstance(charges, list)
    assert [(charge.limit.name, charge.cost) for charge in charges] == [("crm-2s", 4), ("crm-day", 1), ("tenant-1h", 1)]
    assert "s3cret" not in "".join(charge.key for charge in charges)
    admitted = [(await caller.store.admit(Ask(charges), str(number))).admitted for number in range(11)]
    assert admitted == [True] * 10 + [False]
    assert caller.charges("GET", "/crm/deals/1", {"x-tenant-id": "acme"}) == "credential"


async def test_vendor_c_never_lets_call_501_through_in_any_ten_minutes(caller_of: Callable[[str], Caller]) -> None:
    caller = caller_of("examples/vendor-c-psa")
    path = "/psa/tenants/{}/tickets/1"
    assert await caller.admitted(300, "GET", path.format("acme")) == 300
    caller.now_us += 9 * MINUTE_US
    assert await caller.admitted(400, "GET", path.format("%61cme")) == 200
    caller.now_us += MINUTE_US - 1
    refused = await caller.call("GET", path.format("acme"))
    assert (refused.admitted, refused.verdicts[0].retry_us) == (False, 1)
    caller.now_us += 1
    assert await caller.admitted(400, "GET", path.format("acme")) == 300
    assert await caller.admitted(1, "GET", path.format("other")) == 1
