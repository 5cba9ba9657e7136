"""All upstreams of the loaded policies, each with its pool."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple
from weakref import WeakValueDictionary

from gateway.core.policy import PolicySet
from gateway.core.upstream import Upstream
from gateway.names import KnownNames
from gateway.upstream.connect import tls_context
from gateway.upstream.echo import EchoUpstream
from gateway.upstream.pool import Pool
from gateway.wire.response_head import ResponseHeadParser


class Ready(NamedTuple):
    """Pools for the upstreams of one set, made but not in use yet."""

    pools: Mapping[Upstream, Pool]
    by_name: Mapping[str, Pool]
    by_identity: Mapping[int, tuple[Upstream, Pool]]


class Upstreams:
    """Pools by upstream. A reload keeps the pools of upstreams that did not change, with their sockets.

    names  where those of all upstreams have led last
    """

    def __init__(self, response_header_bytes: int, names: KnownNames | None = None) -> None:
        self._names = names or KnownNames()
        self._header_bytes = response_header_bytes
        self._parser = ResponseHeadParser(asyncio.get_running_loop())
        self._now = Ready({}, {}, {})
        self._retired: WeakValueDictionary[Upstream, Pool] = WeakValueDictionary()  # calls under way hold them
        self._echo: EchoUpstream | None = None

    async def load(self, policies: PolicySet) -> None:
        """Prepare and use the upstreams of a policy set at once, as at the start."""
        self.use(await self.prepare(policies))

    async def prepare(self, policies: PolicySet) -> Ready:
        """Pools for this set; nothing is different before `use`. Raises OSError for unusable TLS files."""
        pools: dict[Upstream, Pool] = {}
        by_name: dict[str, Pool] = {}
        for name, upstream in policies.upstreams.items():
            pool = self._now.pools.get(upstream)
            if pool is None:
                target = await self._echo_address(upstream) if upstream.builtin_echo else upstream
                pool = Pool(target, self._parser, self._header_bytes, self._names)
            pools[upstream] = by_name[name] = pool
        by_identity = {id(upstream): (upstream, pool) for upstream, pool in pools.items()}
        return Ready(pools, by_name, by_identity)

    def use(self, ready: Ready) -> None:
        """From now on these pools. The others keep no sockets; calls under way still open and use them."""
        for upstream, pool in self._now.pools.items():
            if ready.pools.get(upstream) is not pool:
                pool.close()
                self._retired[upstream] = pool
        self._now = ready

    def pool(self, upstream: Upstream) -> Pool:
        """The pool of an upstream of the set in use, or of the earlier one that a call under way began with. Raises
        OSError when there is none any more, and its TLS files cannot be used."""
        known = self._now.by_identity.get(id(upstream))
        if known is not None:
            return known[1]
        return self._now.pools.get(upstream) or self._retired.get(upstream) or self._once_more(upstream)

    def _once_more(self, upstream: Upstream) -> Pool:
        """For a call that had not come to use its pool, and neither had others, when the next set came."""
        target = self._echo.as_upstream(upstream) if upstream.builtin_echo and self._echo is not None else upstream
        pool = self._retired[upstream] = Pool(target, self._parser, self._header_bytes, self._names)
        pool.close()
        return pool

    def pools(self) -> Mapping[str, Pool]:
        """All pools by upstream name, for metrics and status."""
        return self._now.by_name

    def read_certificates(self) -> Sequence[Callable[[], None]]:
        """As `Trusting` has it: the files that upstreams name in `tls`."""
        pools = (
            pool for pool in self._now.pools.values() if pool.upstream.tls_ca_file or pool.upstream.tls_certificate
        )
        return [partial(pool.use, tls_context(pool.upstream)) for pool in pools]

    def certificates_end_s(self) -> Mapping[str, int]:
        """When the client certificates end, seconds since 1970, by `upstream:NAME`."""
        ends = ((name, pool.certificate_ends_s) for name, pool in self._now.by_name.items())
        return {f"upstream:{name}": end for name, end in ends if end is not None}

    async def close(self) -> None:
        """Close every socket that is not in use, and the echo upstream."""
        for pool in self._now.pools.values():
            pool.close()
        if self._echo is not None:
            await self._echo.close()

    async def _echo_address(self, upstream: Upstream) -> Upstream:
        if self._echo is None:
            self._echo = EchoUpstream()
            await self._echo.start()
        return self._echo.as_upstream(upstream)
