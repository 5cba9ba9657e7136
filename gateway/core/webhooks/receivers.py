"""Who gets webhooks from us: where, signed with what, and how patient we are."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.core.public_address import Network

TOLD = (
    "connection.online",
    "connection.degraded",
    "connection.offline",
    "connection.auth_required",
    "connection.permission_denied",
    "connection.rate_limited",
    "breaker.opened",
    "breaker.half_open",
    "breaker.closed",
    "upstream.paused",
    "upstream.gave_up",
    "limit.near",
    "store.degraded",
    "store.recovered",
    "policy.loaded",
    "policy.rejected",
    "alert.error_rate",
    "alert.auth_failures",
    "webhook.test",
)
"""Events that receivers may ask for."""
TEST_EVENT = "webhook.test"


@dataclass(frozen=True, slots=True)
class Receiver:
    """One URL.

    keys         to sign with, the newest first
    allowed      networks that it may be in besides the public internet
    anywhere     whether it may be in any network: somebody inside
    timeout_us   for one try, from connecting to the end of the answer's head
    concurrency  tries at once, by all workers of all gateways
    give_up_us   after a failure no try is planned for later than this after the letter came
    ca_file      PEM of who vouches for it, "" = the system's
    keep         of what was delivered so many are kept, to be replayed; 0 = none
    keep_us      and for how long
    """

    name: str
    url: str
    keys: tuple[bytes, ...] = field(default=(), repr=False)
    allowed: tuple[Network, ...] = ()
    anywhere: bool = False
    timeout_us: int = 10_000_000
    concurrency: int = 4
    give_up_us: int = 86_400_000_000
    ca_file: str = ""
    keep: int = 0
    keep_us: int = 0


@dataclass(frozen=True, slots=True)
class Subscription:
    """Which events a receiver wants. Names may hold `*`.

    connections  of events about a connection only those about these; other events come all the same
    """

    receiver: Receiver
    events: tuple[str, ...] = ("*",)
    connections: tuple[str, ...] = ("*",)

    @property
    def name(self) -> str:
        """The name of the receiver."""
        return self.receiver.name

    def wants(self, event: str, connection: str | None) -> bool:
        """Whether it wants this event."""
        if not _matches(self.events, event):
            return False
        return connection is None or _matches(self.connections, connection)


def _matches(patterns: Sequence[str], text: str) -> bool:
    return any(re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), text, re.DOTALL) for pattern in patterns)
