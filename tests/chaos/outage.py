"""A gateway under constant load while something happens to its store, and what then has to be true of every call."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.fakes.gateways import Process
from tests.fakes.ledger import Ledger
from tests.fakes.load import NO_ANSWER, Call, Load, by_status, percentile_ms
from tests.fakes.waiting import pause

RATE, LIMIT = 400, 60
WARM_S, AFTER_S = 2.0, 4.0
TENANTS = 4
TIMEOUT_S = 0.1
"""Of the store. Longer than the default, so that other work on the machine is no outage."""
PATIENT_S = 5.0
"""The same where nothing is meant to be late at all."""

POLICIES = """
version: 1
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: reject}
limits:
  local: {algorithm: rolling_window, limit: %(limit)d, window: 10m, key: [tenant], on_store_error: local}
  deny: {algorithm: rolling_window, limit: 100000, window: 10m, key: [tenant], on_store_error: deny}
  allow: {algorithm: rolling_window, limit: 100000, window: 10m, key: [tenant], on_store_error: allow}
upstreams:
  up: {url: "%(url)s"}
routes:
  - {name: local, match: {path_prefix: /local/}, upstream: up, limits: [local]}
  - {name: deny, match: {path_prefix: /deny/}, upstream: up, limits: [deny]}
  - {name: allow, match: {path_prefix: /allow/}, upstream: up, limits: [allow]}
"""


def policies(url: str) -> str:
    """A route for each posture: when the store is down, the limit goes on locally, refuses, or lets everybody in."""
    return POLICIES % {"url": url, "limit": LIMIT}


@dataclass
class Outage:
    """What happened, by the event loop's clock."""

    load: Load
    ledger: Ledger
    gateways: list[Process]
    began_s: float = 0.0
    ended_s: float = 0.0
    healed_s: float = 0.0

    def calls(self, posture: str) -> list[Call]:
        return [call for call in self.load.calls if call.target.startswith(f"/{posture}/")]

    def during(self, posture: str) -> list[Call]:
        """Calls that were sent and answered while the fault lasted: nothing of the store can have touched them."""
        return [call for call in self.calls(posture) if self.began_s < call.sent_s and call.ended_s < self.ended_s]

    def begins(self) -> None:
        """From now on nothing can be decided. Else that is when the body begins."""
        self.began_s = asyncio.get_running_loop().time()

    def ends(self) -> None:
        """From now on the store may decide again. Else that is when the body ends, and it is well for sure."""
        self.ended_s = asyncio.get_running_loop().time()

    @asynccontextmanager
    async def under_load(self) -> AsyncIterator[None]:
        """Constant load before, while the body runs and makes the fault, and after."""
        running = asyncio.create_task(self.load.run(self._endless()))
        try:
            await pause(WARM_S, "the load before the fault")
            self.begins()
            yield
            self.healed_s = asyncio.get_running_loop().time()
            self.ended_s = self.ended_s or self.healed_s
            await pause(AFTER_S, "the load after it")
        finally:
            running.cancel()
            await asyncio.wait([running])
        await self.load.idle()

    def _endless(self) -> Iterator[tuple[float, Call]]:
        """Half of them ask for `local`; each tenant is asked for in turn, far more often than `local` allows.

        Half of the tenants come only after the fault has begun: the store never heard of them.
        """
        number = 0
        while True:
            known = TENANTS if self.began_s else TENANTS // 2
            posture, tenant = ("local", "deny", "local", "allow")[number % 4], f"t{number // 4 % known}"
            gateway = number // (4 * known) % len(self.gateways)
            yield number / RATE, Call(f"/{posture}/{tenant}/{number}", tenant, gateway=gateway)
            number += 1

    # -- what must be true

    def nobody_saw_an_error(self) -> None:
        """With `local`: every call was answered, by the upstream or by the limit; with `allow`: by the upstream."""
        assert set(by_status(self.calls("local"))) <= {200, 429}, by_status(self.calls("local"))
        assert set(by_status(self.calls("allow"))) == {200}, by_status(self.calls("allow"))

    def nobody_was_told_guesses(self) -> None:
        """With `local`: admitted without the store, so no numbers about what is left."""
        told = [call.field("RateLimit") for call in self.during("local") if call.admitted]
        assert set(told) <= {""}

    def nothing_passed_unchecked(self) -> None:
        """With `deny`: while the store could not answer, nobody got through, and everybody was told so."""
        assert set(by_status(self.during("deny"))) == {503}, by_status(self.during("deny"))
        reached = [call for call in self.during("deny") if call.target in self.ledger.arrivals]
        assert reached == []

    def stayed_within_limits(self, *, forgotten: int = 0, partly: bool = False, unreplicated: int = 0) -> None:
        """With `local`: no more than the limit from the whole fleet meanwhile, and in all no more than it once more.

        forgotten     how often the store lost what it had counted: so often it gives the limit again
        partly        meanwhile parts of the store went on: they give the limit once, too
        unreplicated  so many charges of each tenant may have been lost on their way to the promoted replica
        """
        for tenant in range(TENANTS):
            mine = [call for call in self.calls("local") if call.tenant == f"t{tenant}" and call.admitted]
            outage = [call for call in mine if self.began_s < call.sent_s < self.ended_s]
            assert len(outage) <= (1 + partly) * LIMIT, f"{len(outage)} of t{tenant} were admitted meanwhile"
            most = 1 + forgotten + (partly or tenant < TENANTS // 2)
            assert len(mine) <= most * LIMIT + unreplicated, f"{len(mine)} of t{tenant} were admitted in all"

    def is_over(self) -> None:
        """With `deny`: the store decides again, and from then on decides everything."""
        passed = [call.sent_s for call in self.calls("deny") if call.admitted and call.sent_s > self.ended_s]
        assert passed, "the store never came back"
        every = [call for call in self.calls("deny") if call.sent_s > self.back_s]
        assert set(by_status(every)) == {200}, by_status(every)

    @property
    def back_s(self) -> float:
        """When the last call was sent that was told there is no store; the end of the fault if there was none later."""
        told = [call.sent_s for call in self.calls("deny") if call.status == 503 and call.sent_s > self.ended_s]
        return max([self.ended_s, *told])

    def cost_one_timeout_each(self) -> None:
        """Waiting for the store ended everywhere with the first timeouts: all later calls did not wait at all."""
        workers = len({(line["instance"], line["worker"]) for one in self.gateways for line in one.calls()})
        most = 2 * RATE * TIMEOUT_S + 4 * workers
        assert self.waited <= most, f"{self.waited} calls waited for the store"

    @property
    def waited(self) -> int:
        """How many calls waited for the store as long as calls may."""
        lines = (line for one in self.gateways for line in one.calls())
        return sum(line.get("store_ms", 0) >= 900 * TIMEOUT_S for line in lines)

    @property
    def admitted_of_each(self) -> str:
        """With `local`: of each tenant, half of them known before; all have the same limit."""
        counts = [
            sum(call.admitted for call in self.calls("local") if call.tenant == f"t{tenant}")
            for tenant in range(TENANTS)
        ]
        return "/".join(map(str, counts)) + f" of {LIMIT}"

    def events(self, name: str) -> int:
        return sum(len(one.events(name)) for one in self.gateways)

    def figures(self) -> dict[str, object]:
        """What the report tells."""
        during = [call for call in self.load.calls if self.began_s < call.sent_s < self.ended_s]
        before = [call for call in self.load.calls if self.began_s - WARM_S / 2 < call.sent_s < self.began_s]
        return {
            "calls": len(self.load.calls),
            "unanswered": by_status(self.load.calls).get(NO_ANSWER, 0),
            "local": by_status(self.calls("local")),
            "admitted_of_each": self.admitted_of_each,
            "deny": by_status(self.calls("deny")),
            "p99_before_ms": percentile_ms(before, 99),
            "p99_ms": percentile_ms(during, 99),
            "max_ms": percentile_ms(during, 100),
            "waited_for_store": self.waited,
            "back_after_s": max(0.0, self.back_s - self.healed_s),
            "lost": self.events("store.degraded"),
            "recovered": self.events("store.recovered"),
        }
