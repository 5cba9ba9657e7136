"""Opening a socket to an upstream: names, addresses, TLS. Library errors become UpstreamFailed here."""

import asyncio
import errno
import math
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import aiohappyeyeballs

from gateway.certificate_files import show, trusting
from gateway.core.public_address import may_be_reached
from gateway.core.upstream import Upstream
from gateway.names import AddrInfo, KnownNames
from gateway.upstream.failure import UpstreamFailed
from gateway.waiting import in_time

if TYPE_CHECKING:
    from gateway.upstream.exchange import Exchange

DNS_TTL_S = 10.0
DNS_STALE_S = 60.0  # how long after that the answer serves while the name is looked up again
DNS_AGAIN_S = 1.0  # how long after a failed look-up, or for one where nobody listened, the next one begins
DNS_FIRST_S = 1.0  # how long who has had no answer yet waits for one, where others have had one
DNS_MOVED_S = 0.25  # how long whom nobody listened to waits for what the name is now
HAPPY_EYEBALLS_S = 0.25  # RFC 8305 §5

_OUR_SHORTAGE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})


class Resolver:
    """Addresses of one upstream, remembered for DNS_TTL_S.

    An expired answer is used when DNS is down, and while it is asked again: a slow DNS delays nobody who calls often.
    Where nobody listens any more it is asked again at once: the upstream may have moved. Who has had no answer yet goes
    by the last one that is known here, if DNS is down.
    """

    def __init__(self, upstream: Upstream, loop: asyncio.AbstractEventLoop, known: KnownNames | None = None) -> None:
        self._upstream = upstream
        self._loop = loop
        self._known = known or KnownNames()
        self._found: list[AddrInfo] = []
        self._until = 0.0
        self._answered = -math.inf
        self._asking: asyncio.Task[list[AddrInfo]] | None = None

    async def addresses(self) -> Sequence[AddrInfo]:
        """At least one address. Raises UpstreamFailed, `dns` or `busy`. However many ask, one question is under way."""
        now = self._loop.time()
        if self._found and now < self._until:
            return self._found
        asking = self._question()
        if self._found and now < self._until + DNS_STALE_S:
            return self._found
        if not self._found and await self._go_by_others(asking):
            return self._found
        return await asyncio.shield(asking)

    async def _go_by_others(self, asking: "asyncio.Task[list[AddrInfo]]") -> bool:
        """There was no answer yet. Should this one take its time, the last one that is known here has to do."""
        known = self._last_known()
        if known:
            await asyncio.wait((asking,), timeout=DNS_FIRST_S)
        if not known or asking.done():
            return False
        if not self._found:
            self._found, self._until = known, self._loop.time()
        return True

    def _last_known(self) -> list[AddrInfo]:
        known = self._known.of(self._upstream.host, self._upstream.port)
        return [info for info in known if self._allowed(info[4][0])]

    async def moved(self, tried: Sequence[AddrInfo]) -> Sequence[AddrInfo]:
        """Nobody listened at those: what the name is now beside them, if anything, and if DNS says so soon. Raises
        UpstreamFailed as `addresses`."""
        asking = self.doubt()
        if asking is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(DNS_MOVED_S):
                    await asyncio.shield(asking)
        return [info for info in self._found if info not in tried]

    def doubt(self) -> "asyncio.Task[list[AddrInfo]] | None":
        """The addresses may be those of yesterday: ask, unless that has just been answered."""
        return self._question() if self._loop.time() >= self._answered + DNS_AGAIN_S else None

    def _question(self) -> "asyncio.Task[list[AddrInfo]]":
        if self._asking is None or self._asking.done():
            self._asking = self._loop.create_task(self._ask())
            self._asking.add_done_callback(_look_at)
        return self._asking

    async def _ask(self) -> list[AddrInfo]:
        try:
            return await self._look_up()
        finally:
            self._answered = self._loop.time()

    async def _look_up(self) -> list[AddrInfo]:
        try:
            found = await self._loop.getaddrinfo(
                self._upstream.host, self._upstream.port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
            )
        except (OSError, UnicodeError) as error:
            self._found = self._found or self._last_known()
            if not self._found:
                ours = isinstance(error, OSError) and _is_our_shortage(error)
                reason = getattr(error, "strerror", None) or str(error)
                raise UpstreamFailed("busy" if ours else "dns", reason) from None
            self._until = self._loop.time() + DNS_AGAIN_S
            return self._found
        self._known.note(self._upstream.host, self._upstream.port, found)  # type: ignore[arg-type] # as below
        allowed = [info for info in found if self._allowed(str(info[4][0]))]
        if not allowed:
            raise UpstreamFailed("dns", "every address is private and this upstream has allow_private: false")
        self._found = list(allowed)  # type: ignore[arg-type] # typeshed's address tuple is wider than AF_INET/AF_INET6
        self._until = self._loop.time() + DNS_TTL_S
        return self._found

    def _allowed(self, address: str) -> bool:
        return self._upstream.allow_private or may_be_reached(address, ())


def _look_at(asked: asyncio.Task[list[AddrInfo]]) -> None:
    """An answer that nobody waits for any more may be an error; that is no defect."""
    if not asked.cancelled():
        asked.exception()


def _is_our_shortage(error: OSError) -> bool:
    """No file descriptors or ports left here says nothing of the upstream. (`gaierror` has numbers of its own.)"""
    return error.errno in _OUR_SHORTAGE and not isinstance(error, socket.gaierror)


async def connect(
    exchange: "Exchange", upstream: Upstream, resolver: Resolver, tls: ssl.SSLContext | None, within_us: int
) -> None:
    """Connect `exchange`'s socket. Raises UpstreamFailed.

    within_us  the most that it may take; 0 = the upstream's connect timeout
    """
    loop = asyncio.get_running_loop()
    within_us = within_us or upstream.timeouts.connect_us
    phase, awaited = ("connect_timeout", "connection") if upstream.unix_path else ("dns_timeout", "address")
    try:
        async with in_time(within_us / 1e6):
            if upstream.unix_path:
                await loop.create_unix_connection(lambda: exchange, upstream.unix_path)
                return
            addresses = await resolver.addresses()
            phase, awaited = "connect_timeout", "connection"
            sock = await _dial(loop, addresses, resolver)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            awaited = "TLS handshake"
            await _attach(loop, exchange, sock, upstream, tls)
    except TimeoutError:
        if phase == "connect_timeout":
            resolver.doubt()
        raise UpstreamFailed(phase, f"no {awaited} within {within_us // 1000} ms") from None
    except ssl.SSLCertVerificationError as error:
        raise UpstreamFailed("tls_certificate", error.verify_message) from None
    except ssl.SSLError as error:
        raise UpstreamFailed("tls_protocol", str(error.reason or error)) from None
    except OSError as error:
        raise UpstreamFailed("busy" if _is_our_shortage(error) else "refused", str(error)) from None


async def _dial(loop: asyncio.AbstractEventLoop, addresses: Sequence[AddrInfo], resolver: Resolver) -> socket.socket:
    """A socket to the first of them that takes it, or to where the name has moved. Raises OSError, UpstreamFailed."""
    try:
        return await _race(loop, addresses)
    except OSError as error:
        if _is_our_shortage(error):
            raise
        moved = await resolver.moved(addresses)
        if not moved:
            raise
    return await _race(loop, moved)


async def _race(loop: asyncio.AbstractEventLoop, addresses: Sequence[AddrInfo]) -> socket.socket:
    return await aiohappyeyeballs.start_connection(list(addresses), happy_eyeballs_delay=HAPPY_EYEBALLS_S, loop=loop)


async def _attach(
    loop: asyncio.AbstractEventLoop,
    exchange: "Exchange",
    sock: socket.socket,
    upstream: Upstream,
    tls: ssl.SSLContext | None,
) -> None:
    try:
        server_name = (upstream.tls_server_name or upstream.host) if tls else None
        await loop.create_connection(lambda: exchange, sock=sock, ssl=tls, server_hostname=server_name)
    except BaseException:
        sock.close()
        raise


def tls_context(upstream: Upstream) -> ssl.SSLContext | None:
    """Verification on, TLS 1.2 or newer, own CA bundle and client certificate when the upstream names them.

    Raises OSError, which names the upstream and the file, when one cannot be used.
    """
    if upstream.scheme != "https":
        return None
    try:
        context = trusting(upstream.tls_ca_file)
        if upstream.tls_certificate:
            show(context, upstream.tls_certificate, upstream.tls_key)
    except OSError as error:
        raise OSError(error.errno, f"upstream {upstream.name}: {error.strerror or error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
