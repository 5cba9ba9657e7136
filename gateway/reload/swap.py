"""Another policy set, and the settings that may change while calls are served, in one step.

`prepare` does everything that takes time or can fail, beside the parts in use; `swap` only replaces references, between
two calls. Calls under way keep the set, the sockets and the schemes they began with. What was worked out with the old
set is forgotten, so that nothing of it stays when the last of those calls has ended.
"""

from collections.abc import Callable, Coroutine
from typing import NamedTuple

from gateway.call import Gateway
from gateway.core.headers import FieldWriter
from gateway.core.http.client_address import networks
from gateway.core.http.hop import Hop
from gateway.core.policy import PolicySet
from gateway.identity.authenticator import Authenticator
from gateway.modules.credentials.supply import Supply
from gateway.settings import Settings
from gateway.upstream.directory import Ready


class Prepared(NamedTuple):
    """All that `swap` puts in place."""

    settings: Settings
    policies: PolicySet
    upstreams: Ready
    authenticator: Authenticator
    supply: Supply


async def prepare(gateway: Gateway, settings: Settings, policies: PolicySet) -> Prepared:
    """Get everything ready. Raises OSError for files that cannot be used (TLS); the gateway is as it was then."""
    ready, supply = await gateway.upstreams.prepare(policies), gateway.supply.successor(policies)
    return Prepared(settings, policies, ready, await gateway.authenticator.successor(policies), supply)


async def discard(gateway: Gateway, prepared: Prepared) -> None:
    """Close what was prepared and will not be used."""
    await prepared.authenticator.close(shared_with=gateway.authenticator)


def swap(gateway: Gateway, prepared: Prepared) -> Callable[[], Coroutine[object, object, None]]:
    """Put it in place. Returns what ends the parts that were in use, beside the new ones."""
    authenticator, supply = gateway.authenticator, gateway.supply

    async def close_before() -> None:
        await authenticator.close(shared_with=prepared.authenticator)
        await supply.close(shared_with=prepared.supply)

    use_settings(gateway, prepared.settings)
    gateway.upstreams.use(prepared.upstreams)
    gateway.authenticator = prepared.authenticator
    gateway.supply = prepared.supply
    gateway.callers.forget()
    gateway.leases.use(prepared.policies.limits.values())
    gateway.caches.use(prepared.policies)
    gateway.pacing.keep({upstream.pace for upstream in prepared.policies.upstreams.values() if upstream.pace})
    gateway.policies = prepared.policies
    return close_before


def use_settings(gateway: Gateway, settings: Settings) -> None:
    """Take over what the stages read of the settings, in the form they read it."""
    gateway.settings = settings
    gateway.fields = FieldWriter(
        draft=settings.headers.ratelimit == "draft",
        legacy=settings.headers.legacy == "x-ratelimit",
        epoch_reset=settings.headers.legacy_reset == "epoch_seconds",
    )
    gateway.reported_from = _reported_from(settings)
    gateway.hop = Hop(settings.name, settings.headers.forwarded)
    gateway.trusted_proxies = networks(settings.trusted_proxies)


def _reported_from(settings: Settings) -> int:
    if settings.headers.server_timing:
        return 0
    return {"off": 1000, "errors": 500, "always": 1}[settings.headers.proxy_status]
