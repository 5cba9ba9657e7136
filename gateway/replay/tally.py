"""What a replay found: what would change, by which limit, for whom. Bounded, however many callers there are."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from gateway.core.http.timestamps import rfc3339
from gateway.core.limits import VARIANT, Mode
from gateway.core.policy import PolicySet
from gateway.replay.play import Outcome, Played

MOST_TENANTS = 50_000
OTHERS = "(others)"
NOBODY = "(none)"
EXAMPLES = 5


@dataclass(slots=True)
class Counts:
    """Calls that were, or would be, refused. watched: let in then, and refused in shadow."""

    then: int = 0
    watched: int = 0
    now: int = 0
    newly_refused: int = 0
    newly_admitted: int = 0

    def as_dict(self) -> dict[str, int]:
        """For JSON."""
        return {
            "refused_then": self.then,
            "refused_now": self.now,
            "newly_refused": self.newly_refused,
            "newly_admitted": self.newly_admitted,
        }


@dataclass(slots=True)
class Report:
    """The sum of all outcomes.

    by_limit   by name of a limit, or code of a refusal before any limit
    by_tenant  only tenants that were or would be refused
    examples   the first few calls that would be refused and were not: when, whose, by what
    """

    total: Counts = field(default_factory=Counts)
    by_limit: dict[str, Counts] = field(default_factory=dict)
    by_tenant: dict[str, Counts] = field(default_factory=dict)
    examples: list[dict[str, Any]] = field(default_factory=list)

    def take(self, outcomes: Iterable[Outcome]) -> None:
        """Count these outcomes, too."""
        for outcome in outcomes:
            self._count(outcome)

    def _count(self, outcome: Outcome) -> None:
        then, now = outcome.refused_then, outcome.refused_now
        limits = [limit.name for limit in outcome.judged.lacking if not now or limit.mode is Mode.ENFORCE]
        names = [outcome.code] if outcome.code else limits
        self._count_limits(names, outcome)
        if not (then or now):
            return
        for counts in (self.total, self._tenant(outcome.kind.tenant)):
            counts.then += then
            counts.now += now
            counts.newly_refused += now and not then
            counts.newly_admitted += then and not now
        if now and not then and len(self.examples) < EXAMPLES:
            at = rfc3339(outcome.began_us)
            self.examples.append({"at": at, "tenant": outcome.kind.tenant or NOBODY, "refused_by": names})

    def _count_limits(self, names: Iterable[str], outcome: Outcome) -> None:
        """`names`: of those that would refuse it now."""
        then, now = outcome.refused_then, outcome.refused_now
        for name in names:
            one = self._limit(name)
            one.now += 1
            one.newly_refused += now and not then
        for name in outcome.extra.fired or ((NOBODY,) if then else ()):
            fired = self._limit(name)
            fired.then += then
            fired.watched += not then
            fired.newly_admitted += then and not now

    def _limit(self, name: str) -> Counts:
        return self.by_limit.setdefault(name, Counts())

    def _tenant(self, name: str) -> Counts:
        name = name or NOBODY
        if name not in self.by_tenant and len(self.by_tenant) >= MOST_TENANTS:
            name = OTHERS
        return self.by_tenant.setdefault(name, Counts())

    def as_dict(self, policies: PolicySet, top: int, played: Played) -> dict[str, Any]:
        """For JSON: limits as the policy lists them, tenants by how much changes for them."""
        order = {name: number for number, name in enumerate(policies.limits)}
        limits = sorted(self.by_limit, key=lambda name: (order.get(name, len(order)), name))
        tenants = sorted(self.by_tenant, key=self._weight)[:top]
        document: dict[str, Any] = {
            "policy_version": policies.version,
            "calls": played.calls,
            **self.total.as_dict(),
            "limits": [_of_limit(policies, name, self.by_limit[name]) for name in limits],
            "tenants": [{"tenant": name, **self.by_tenant[name].as_dict()} for name in tenants],
            "tenants_affected": len(self.by_tenant),
            "examples": self.examples,
        }
        if played.calls:
            document |= {"from": rfc3339(played.first_us), "to": rfc3339(played.last_us)}
        return document

    def _weight(self, tenant: str) -> tuple[int, int, int, str]:
        counts = self.by_tenant[tenant]
        return -counts.newly_refused, -counts.newly_admitted, -counts.now, tenant


def _of_limit(policies: PolicySet, name: str, counts: Counts) -> dict[str, Any]:
    """Of one in shadow also what it would have refused then."""
    limit = policies.limits.get(name)
    if name.endswith(VARIANT) or (limit is not None and limit.mode is Mode.SHADOW):
        then = counts.then + counts.watched
        return {"name": name, "mode": "shadow", **counts.as_dict(), "refused_then": then}
    return {"name": name, **counts.as_dict()}
