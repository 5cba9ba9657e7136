"""All upstreams of the loaded policies, each with its pool."""

import asyncio
from collections.abc import Mapping

from gateway.core.policy import PolicySet, Upstream
from gateway.upstream.echo import EchoUpstream
from gateway.upstream.pool import Pool
from gateway.wire.response_head import ResponseHeadParser


class Upstreams:
    """Pools by upstream. A reload keeps the pools of upstreams that did not change, with their sockets."""

    def __init__(self, response_header_bytes: int = 64 * 1024) -> None:
        self._header_bytes = response_header_bytes
        self._parser = ResponseHeadParser(asyncio.get_running_loop())
        self._pools: dict[Upstream, Pool] = {}
        self._by_name: dict[str, Pool] = {}
        self._by_identity: dict[int, tuple[Upstream, Pool]] = {}
        self._echo: EchoUpstream | None = None

    async def load(self, policies: PolicySet) -> None:
        """Make the pools of this set ready; close those it does not use. Raises OSError for unusable TLS files."""
        pools: dict[Upstream, Pool] = {}
        by_name: dict[str, Pool] = {}
        for name, upstream in policies.upstreams.items():
            target = await self._echo_address(upstream) if upstream.builtin_echo else upstream
            pool = self._pools.get(target) or Pool(target, self._parser, self._header_bytes)
            pools[target] = by_name[name] = pool
            self._by_identity[id(upstream)] = (upstream, pool)
        for upstream, pool in self._pools.items():
            if upstream not in pools:
                pool.close()  # keeps no sockets; calls in flight still open and use them
        self._pools, self._by_name = pools, by_name

    def pool(self, upstream: Upstream) -> Pool:
        """The pool of an upstream of any set loaded so far: a call keeps the set it began with."""
        return self._by_identity[id(upstream)][1]

    def pools(self) -> Mapping[str, Pool]:
        """All pools by upstream name, for metrics and status."""
        return self._by_name

    async def close(self) -> None:
        """Close every socket that is not in use, and the echo upstream."""
        for pool in self._pools.values():
            pool.close()
        if self._echo is not None:
            await self._echo.close()

    async def _echo_address(self, upstream: Upstream) -> Upstream:
        if self._echo is None:
            self._echo = EchoUpstream()
            await self._echo.start()
        return self._echo.as_upstream(upstream)
