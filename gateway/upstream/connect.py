"""Opening a socket to an upstream: names, addresses, TLS. Library errors become UpstreamFailed here."""

import asyncio
import errno
import math
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import aiohappyeyeballs

from gateway.certificate_files import show, trusting
from gateway.core.public_address import may_be_reached
from gateway.core.upstream import Upstream
from gateway.names import LASTS_S, AddrInfo, Answer, KnownNames
from gateway.upstream.failure import UpstreamFailed
from gateway.waiting import in_time

if TYPE_CHECKING:
    from gateway.upstream.exchange import Exchange

DNS_TTL_S = 10.0
DNS_STALE_S = 60.0  # how long after that the answer serves while the name is looked up again
DNS_AGAIN_S = 1.0  # how long after a failed look-up, or for one where nobody listened, the next one begins
DNS_YOUNG_S = DNS_TTL_S + DNS_STALE_S  # how old an answer of others may be that serves while the name is looked up
DNS_FIRST_S = 1.0  # how long a look-up may take where others have had such an answer, and who asks has had none lately
DNS_MOVED_S = 0.25  # how long whom nobody listened to waits for what the name is now
HAPPY_EYEBALLS_S = 0.25  # RFC 8305 §5

_NO_SUCH_NAME = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})
_OUR_SHORTAGE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})


class Resolver:
    """Addresses of one upstream, remembered for DNS_TTL_S.

    An expired answer is used when DNS is down, and while it is asked again: a slow DNS delays nobody who calls often.
    Where nobody listens any more it is asked again at once: the upstream may have moved. Who has had no answer lately
    goes by those that others here have had: by a young one while DNS says nothing, by one of today when it is down.
    """

    def __init__(self, upstream: Upstream, loop: asyncio.AbstractEventLoop, known: KnownNames | None = None) -> None:
        self._upstream = upstream
        self._loop = loop
        self._known = known or KnownNames()
        self._own: Sequence[AddrInfo] = ()
        self._found: Sequence[AddrInfo] = ()
        self._found_s = -math.inf
        self._until = -math.inf
        self._began = 0.0
        self._answered = -math.inf
        self._asking: asyncio.Task[Sequence[AddrInfo]] | None = None

    async def addresses(self, patience_s: float = DNS_FIRST_S) -> Sequence[AddrInfo]:
        """At least one address. Raises UpstreamFailed, `dns` or `busy`. However many ask, one question is under way.

        patience_s  what who asks can spare of its time for a look-up, where others know the addresses
        """
        if self._found and self._loop.time() < self._until:
            return self._found
        asking = self._question()
        if not self._serves() and self._others(DNS_YOUNG_S).found:
            left_s = self._began + min(DNS_FIRST_S, patience_s) - self._loop.time()
            await asyncio.wait((asking,), timeout=max(0.0, left_s))
        if not asking.done():
            self._take_over(DNS_YOUNG_S)
        return self._found if self._serves() else await asyncio.shield(asking)

    def _serves(self) -> bool:
        """Whether there are addresses that serve while the name is looked up."""
        return bool(self._found) and self._loop.time() < self._until + DNS_STALE_S

    def _others(self, within_s: float) -> Answer:
        """What DNS has said to others here, if that is younger than what we go by and no older than so: what this
        upstream may reach of it."""
        last = self._known.of(self._upstream.host, self._upstream.port)
        if last.at_s <= max(self._found_s, self._loop.time() - within_s):
            return Answer()
        return last._replace(found=[info for info in last.found if self._allowed(info[4][0])])

    def _take_over(self, within_s: float) -> None:
        """Go by what others were told, as far as `_others` has it."""
        found, at_s = self._others(within_s)
        if found:
            self._found, self._found_s, self._until = found, at_s, at_s + DNS_TTL_S

    async def moved(self, tried: Sequence[AddrInfo]) -> Sequence[AddrInfo]:
        """Nobody listened at those: what the name is now beside them, if anything, and if DNS says so soon. Raises
        UpstreamFailed as `addresses`."""
        asking = self.doubt()
        if asking is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(DNS_MOVED_S):
                    await asyncio.shield(asking)
        self._take_over(DNS_YOUNG_S)
        return [info for info in self._found if info not in tried]

    def doubt(self) -> "asyncio.Task[Sequence[AddrInfo]] | None":
        """The addresses may be those of yesterday: ask, unless that has just been answered."""
        return self._question() if self._loop.time() >= self._answered + DNS_AGAIN_S else None

    def _question(self) -> "asyncio.Task[Sequence[AddrInfo]]":
        if self._asking is None or self._asking.done():
            self._began = self._loop.time()
            self._asking = self._loop.create_task(self._ask())
            self._asking.add_done_callback(_look_at)
        return self._asking

    async def _ask(self) -> Sequence[AddrInfo]:
        try:
            return await self._look_up()
        finally:
            self._answered = self._loop.time()

    async def _look_up(self) -> Sequence[AddrInfo]:
        host, port = self._upstream.host, self._upstream.port
        try:
            found: list[Any] = await self._loop.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
            )
        except (OSError, UnicodeError) as error:
            return self._without_answer(error)
        now = self._loop.time()
        self._known.note(host, port, found, now)
        allowed = [info for info in found if self._allowed(str(info[4][0]))]
        if not allowed:
            raise UpstreamFailed("dns", "every address is private and this upstream has allow_private: false")
        self._own = self._found = allowed
        self._found_s, self._until = now, now + DNS_TTL_S
        return allowed

    def _without_answer(self, error: OSError | UnicodeError) -> Sequence[AddrInfo]:
        """What to go by all the same. Of a name that is no more, only what DNS has told us of it ourselves."""
        now = self._loop.time()
        if isinstance(error, socket.gaierror) and error.errno in _NO_SUCH_NAME:
            self._known.forget(self._upstream.host, self._upstream.port, now)
            self._found = self._own
        else:
            self._take_over(LASTS_S)
        if not self._found:
            ours = isinstance(error, OSError) and _is_our_shortage(error)
            raise UpstreamFailed("busy" if ours else "dns", getattr(error, "strerror", None) or str(error)) from None
        self._until = now + DNS_AGAIN_S
        return self._found

    def _allowed(self, address: str) -> bool:
        return self._upstream.allow_private or may_be_reached(address, ())


def _look_at(asked: asyncio.Task[Sequence[AddrInfo]]) -> None:
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
            addresses = await resolver.addresses(within_us / 2e6)
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
