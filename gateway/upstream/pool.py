"""Keep-alive sockets of one upstream. Last in, first out, so that a quiet pool shrinks by itself."""

import asyncio
import ssl

from gateway.certificate_files import begin_with, ends_s
from gateway.core.retry import Budget, Share
from gateway.core.upstream import Upstream
from gateway.names import KnownNames
from gateway.upstream.connect import Resolver, connect, tls_context
from gateway.upstream.exchange import Exchange
from gateway.upstream.failure import UpstreamFailed
from gateway.wire.response_head import ResponseHeadParser
from gateway.wire.sweep import Sweeper

KEEP_IDLE_S = 15.0
SWEEP_S = 0.05
IDLE_CHECK_S = 1.0


class Pool:
    """Sockets to one upstream, idle and busy. `upstream` may be replaced by a reload when the address is the same.

    `calls` counts calls forwarded, however many attempts each took. `certificate_ends_s`: seconds since 1970 when the
    client certificate ends; None = it has none.
    """

    def __init__(
        self,
        upstream: Upstream,
        parser: ResponseHeadParser,
        header_bytes: int = 64 * 1024,
        names: KnownNames | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._idle: list[Exchange] = []
        self._busy: set[Exchange] = set()
        self._resolver = Resolver(upstream, self._loop, names)
        self._tls = begin_with(tls_context, upstream)
        self.certificate_ends_s = ends_s(upstream.tls_certificate)
        self._sweeper = Sweeper(self._loop, SWEEP_S)
        self._idle_check: asyncio.TimerHandle | None = None
        self._closed = False
        self._budgets: dict[Share, Budget] = {}
        self.calls = 0
        self.upstream = upstream
        self.parser = parser
        self.header_bytes = header_bytes
        self.idle_timeout_s = upstream.timeouts.idle_us / 1e6

    @property
    def active(self) -> int:
        """Sockets in use."""
        return len(self._busy)

    @property
    def idle(self) -> int:
        """Sockets waiting for the next call."""
        return len(self._idle)

    def budget(self, share: Share) -> Budget:
        """What is left for retries to this upstream; one for all routes with the same share."""
        known = self._budgets.get(share)
        if known is None:
            known = self._budgets[share] = Budget(share)
        return known

    def take(self) -> Exchange | None:
        """An idle socket that still looks alive, or None. Those on which something has arrived are closed, and those
        that the upstream is about to close."""
        idle = self._idle
        while idle:
            exchange = idle.pop()
            if exchange.idle_until > self._loop.time() and _is_quiet(exchange):
                exchange.busy = True
                self._busy.add(exchange)
                return exchange
            exchange.abort()
        return None

    async def open(self, within_us: int = 0) -> Exchange:
        """A fresh socket. Raises UpstreamFailed.

        within_us  the most that connecting may take; 0 = the upstream's connect timeout
        """
        bound = self.upstream.max_sockets
        if bound and len(self._busy) >= bound:
            raise UpstreamFailed("busy", f"{bound} sockets in use")
        exchange = Exchange(self, self._loop)
        self._busy.add(exchange)
        try:
            await self._loop.create_task(connect(exchange, self.upstream, self._resolver, self._tls, within_us))
        except BaseException:
            self._busy.discard(exchange)
            exchange.abort()
            raise
        self._sweeper.add(exchange)
        return exchange

    def keep(self, exchange: Exchange) -> None:
        """Keep the socket of an exchange that ended in a known state, for the next call."""
        self._busy.discard(exchange)
        exchange.busy = False
        if self._closed:
            exchange.abort()
            return
        idle_s = exchange.head.idle_s if exchange.head is not None else KEEP_IDLE_S
        exchange.idle_until = self._loop.time() + min(idle_s, KEEP_IDLE_S)
        self._idle.append(exchange)
        if self._idle_check is None:
            self._idle_check = self._loop.call_later(IDLE_CHECK_S, self._close_idle)

    def lost(self, exchange: Exchange) -> None:
        """The socket is gone, or belongs to a tunnel now."""
        self._busy.discard(exchange)
        self._sweeper.remove(exchange)
        if not exchange.busy and exchange in self._idle:
            self._idle.remove(exchange)

    def use(self, tls: ssl.SSLContext | None) -> None:
        """For sockets from now on: the upstream's certificates, read again."""
        self._tls = tls
        self.certificate_ends_s = ends_s(self.upstream.tls_certificate)

    def close(self) -> None:
        """Close what is idle now, and what is busy when it is released."""
        self._closed = True
        if self._idle_check is not None:
            self._idle_check.cancel()
        for exchange in self._idle:
            exchange.abort()
        self._idle.clear()

    def _close_idle(self) -> None:
        self._idle_check = None
        now = self._loop.time()
        expired = [e for e in self._idle if e.idle_until <= now]
        self._idle = [e for e in self._idle if e.idle_until > now]
        for exchange in expired:
            exchange.abort()
        if self._idle:
            self._idle_check = self._loop.call_later(IDLE_CHECK_S, self._close_idle)


def _is_quiet(exchange: Exchange) -> bool:
    """Whether nothing has come since it was kept, nor its end, not even what the loop has not looked at yet."""
    if exchange.transport is None or exchange.transport.is_closing():
        return False
    return exchange.arrivals is None or not exchange.arrivals.poll(0)
