"""What the admin listener needs to know of the worker it runs in; `gateway/view.py` provides it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from gateway.admin.watching.switching import Switches
from gateway.core.access.authentication import Denied, Headers, Identity, Scheme
from gateway.core.guards import Change, Guard
from gateway.core.policy import PolicySet
from gateway.core.upstream import Upstream
from gateway.settings import Settings
from gateway.siblings import Siblings
from gateway.store import Store
from gateway.store.shared.status import Statuses

if TYPE_CHECKING:
    from gateway.admin.lookout import Lookout
    from gateway.modules.hooks import Hooks

ANSWER_S = 2.0
"""How long other workers have to answer what operators ask."""


class Check(NamedTuple):
    """One condition of readiness. `detail` is a short text for people, without secrets."""

    name: str
    ok: bool
    detail: str = ""


class ReloadOutcome(Protocol):
    """What came of a reload; `gateway.reload.outcome` has more to say about it."""

    @property
    def result(self) -> str:
        """loaded, unchanged, rejected or failed."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""


class Reloads(Protocol):
    """What reads policies and settings again."""

    @property
    def last(self) -> ReloadOutcome | None:
        """Of this gateway; None = there was none since it began."""

    async def ask(self, why: str, *, for_successors: bool) -> ReloadOutcome:
        """Read the files now, also for workers that are to begin with them. Never raises."""


class AdminView(Protocol):
    """One worker as seen from outside. Reading anything here is cheap and changes nothing."""

    @property
    def settings(self) -> Settings:
        """The settings in force, secrets included: the admin listener masks them."""

    @property
    def policies(self) -> PolicySet:
        """The set that new calls are judged by."""

    @property
    def store(self) -> Store:
        """Where counters are read and reset."""

    @property
    def own_store(self) -> Store:
        """What this worker counts for itself alone: breakers of `scope: local`."""

    @property
    def statuses(self) -> Statuses:
        """How connections are doing."""

    @property
    def reload(self) -> Reloads:
        """Reads the files again."""

    @property
    def siblings(self) -> Siblings:
        """The line to the other workers. Handlers are registered before the worker serves."""

    @property
    def worker(self) -> int:
        """Number of this worker, from 0."""

    @property
    def draining(self) -> bool:
        """Whether the worker was told to stop."""

    def breaker_changed(self, guard: Guard, change: Change) -> None:
        """Tell everybody that an operator changed a breaker's state."""

    def checks(self) -> Sequence[Check]:
        """Conditions of readiness besides not draining: `policies`, `listener`, `store` (ok when the limits can do
        without it, by their `on_store_error`)."""

    async def render_metrics(self, accept: str) -> tuple[bytes, str]:
        """Metrics in the format the Accept field asks for: (body, Content-Type)."""

    async def forget_refusals(self) -> None:
        """From now on no worker of this gateway repeats what the store answered before."""

    @property
    def switches(self) -> Switches:
        """What operators have switched here. The sibling question `switch` does it in every worker."""

    @property
    def lookout(self) -> "Lookout":
        """What this worker tells of itself."""

    @property
    def hooks(self) -> "Hooks | None":
        """Webhooks out and in; None = off."""

    def store_status(self) -> Mapping[str, object]:
        """Which store there is, whether it is up, and since when not and why."""

    async def check_connection(self, connection: str, tenant: str, upstream: Upstream) -> Mapping[str, Any]:
        """Test one connection, at one upstream: each step with its outcome. Charges nothing."""

    def upstreams_of(self, connection: str, tenant: str) -> Sequence[Upstream]:
        """Where a connection leads to, as far as the policies say."""

    async def authenticate(self, schemes: Sequence[Scheme], headers: Headers) -> Identity | Denied:
        """Whom credentials vouch for, as calls are looked at."""
