"""What is offered to all workers, and what there is to tell of it once it is in force."""

from typing import Any, NamedTuple

from gateway.core.policy import PolicySet
from gateway.core.preview.policy_diff import counts, diff
from gateway.policy.changes import changes
from gateway.reload.edition import Edition
from gateway.reload.outcome import Outcome, shown
from gateway.settings import Settings


class Offer(NamedTuple):
    """An edition, what is in force before it, and of the reload that makes it: who asked (as `Outcome.why`), and how
    many warnings there were."""

    edition: Edition
    settings: Settings
    policies: PolicySet
    why: str
    warnings: int

    def news(self, began: Settings) -> dict[str, Any]:
        """Fields of its outcome. Takes time.

        began  the settings as they were read when the gateway began
        """
        before, after = self.policies, self.edition.policies
        merged = changes(self.settings, self.edition.fresh, began)
        about = {"why": self.why, "warnings": self.warnings, "settings": merged.as_dict()}
        found = diff(before, after)  # secrets are not part of the version
        if not found and not merged.at_once and before.version == after.version:
            return {"result": "unchanged", **about}
        return {"result": "loaded", "changes": counts(found), "diff": shown(found), **about}

    def told_by(self, outcome: Outcome) -> bool:
        """Whether it says that this is in force."""
        return outcome.good and outcome.version == self.edition.policies.version
