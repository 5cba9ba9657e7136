"""The way to an upstream, step by step, each step timed and put into words: name, socket, TLS, an answer.

On sockets of its own, which are closed behind it. Nothing here is asked whether it may.
"""

import asyncio
import os
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import aiohappyeyeballs

from gateway.core.upstream import Upstream
from gateway.names import AddrInfo
from gateway.upstream.connect import HAPPY_EYEBALLS_S, Resolver, tls_context
from gateway.upstream.failure import UpstreamFailed
from gateway.upstream.pool import Pool
from gateway.upstream.understood import understood
from gateway.wire.response_head import ResponseHead, ResponseHeadParser

MOST_WAITED_S = 10.0
"""For the head of an answer, whatever the upstream's own timeouts are."""
SOON_DAYS = 14
NO_FACTS: Mapping[str, Any] = {}


class Step(NamedTuple):
    """What came of one step. `detail` is for people, without secrets; `facts` for programs.

    ok  None = it says nothing either way
    """

    step: str
    ok: bool | None
    took_ms: float
    detail: str
    facts: Mapping[str, Any] = NO_FACTS

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        head = {"step": self.step, "ok": self.ok, "took_ms": self.took_ms, "detail": self.detail}
        return {**head, **self.facts}


class Timed:
    """Makes steps, each as long as it is since the one before."""

    def __init__(self) -> None:
        self._began = time.monotonic()  # the loop's own time goes in whole milliseconds

    def step(self, name: str, ok: bool | None, detail: str, **facts: Any) -> Step:
        """The step that has just been done, timed since the one before."""
        began, self._began = self._began, time.monotonic()
        return Step(name, ok, round((self._began - began) * 1e3, 3), detail, facts)


async def reach(upstream: Upstream) -> list[Step]:
    """Name, socket and TLS, as far as they go. The last step is the one that failed, if one did."""
    timed, limit_s = Timed(), upstream.timeouts.connect_us / 1e6
    if upstream.unix_path:
        return [await _unix(timed, upstream, limit_s)]
    found = await _resolve(timed, upstream, limit_s)
    if isinstance(found, Step):
        return [found]
    texts = list(dict.fromkeys(str(info[4][0]) for info in found))
    steps = [timed.step("dns", True, f"{upstream.host} is {', '.join(texts)}", addresses=texts)]
    connected = await _connect(timed, upstream, found, limit_s)
    if isinstance(connected, Step):
        return [*steps, connected]
    peer = connected.getpeername()
    steps.append(timed.step("tcp", True, f"connected to {peer[0]} port {peer[1]}", address=peer[0]))
    if upstream.scheme == "https":
        steps.append(await _handshake(timed, upstream, connected, limit_s))
    else:
        connected.close()
    return steps


async def _unix(timed: Timed, upstream: Upstream, limit_s: float) -> Step:
    try:
        async with asyncio.timeout(limit_s):
            _, writer = await asyncio.open_unix_connection(upstream.unix_path)
    except (TimeoutError, OSError) as error:
        return timed.step("socket", False, _words(error, limit_s), error="refused")
    writer.transport.abort()
    return timed.step("socket", True, f"connected to {upstream.unix_path}")


async def _resolve(timed: Timed, upstream: Upstream, limit_s: float) -> Sequence[AddrInfo] | Step:
    try:
        async with asyncio.timeout(limit_s):
            return await Resolver(upstream, asyncio.get_running_loop()).addresses()
    except UpstreamFailed as failure:
        return timed.step("dns", False, f"{upstream.host}: {failure.detail}", error=failure.error)
    except TimeoutError:
        return timed.step("dns", False, f"{upstream.host}: no answer within {limit_s:g} s", error="dns_timeout")


async def _connect(
    timed: Timed, upstream: Upstream, addresses: Sequence[AddrInfo], limit_s: float
) -> socket.socket | Step:
    try:
        async with asyncio.timeout(limit_s):
            return await aiohappyeyeballs.start_connection(list(addresses), happy_eyeballs_delay=HAPPY_EYEBALLS_S)
    except TimeoutError as error:
        return timed.step("tcp", False, _words(error, limit_s), error="connect_timeout")
    except OSError as error:
        return timed.step("tcp", False, f"port {upstream.port}: {_words(error, limit_s)}", error="refused")


async def _handshake(timed: Timed, upstream: Upstream, sock: socket.socket, limit_s: float) -> Step:
    """The certificate is checked as for calls. The socket is closed behind it."""
    name = upstream.tls_server_name or upstream.host
    try:
        async with asyncio.timeout(limit_s):
            _, writer = await asyncio.open_connection(sock=sock, ssl=tls_context(upstream), server_hostname=name)
    except ssl.SSLCertVerificationError as error:
        sock.close()
        return timed.step("tls", False, f"certificate for {name}: {error.verify_message}", error="tls_certificate")
    except (TimeoutError, OSError) as error:
        sock.close()
        return timed.step("tls", False, _words(error, limit_s), error="tls_protocol")
    found: ssl.SSLObject = writer.get_extra_info("ssl_object")
    writer.transport.abort()
    return timed.step("tls", True, *_certificate(found, name))._replace(facts=_tls_facts(found))


def _certificate(found: ssl.SSLObject, name: str) -> tuple[str]:
    days = _days_left(found)
    soon = ": renew it" if days < SOON_DAYS else ""
    return (f"{found.version()}, the certificate for {name} expires in {days} days{soon}",)


def _tls_facts(found: ssl.SSLObject) -> Mapping[str, Any]:
    certificate: Any = found.getpeercert() or {}
    issuer = {key: value for one in certificate.get("issuer", ()) for key, value in one}
    return {
        "version": found.version(),
        "expires_at": _expiry(found).isoformat().replace("+00:00", "Z"),
        "expires_in_days": _days_left(found),
        "issuer": issuer.get("organizationName") or issuer.get("commonName"),
    }


def _expiry(found: ssl.SSLObject) -> datetime:
    certificate: Any = found.getpeercert() or {}
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)


def _days_left(found: ssl.SSLObject) -> int:
    return (_expiry(found) - datetime.now(UTC)).days


def _words(error: Exception, limit_s: float) -> str:
    if isinstance(error, TimeoutError):
        return f"nothing within {limit_s:g} s"
    if isinstance(error, ssl.SSLError):
        return str(error.reason or error)
    number = getattr(error, "errno", None) or 0
    return os.strerror(number) if number > 0 else str(error) or type(error).__name__


def patience_s(upstream: Upstream) -> float:
    """How long `request` waits for the head of an answer."""
    return min(upstream.timeouts.first_byte_us / 1e6, MOST_WAITED_S)


async def request(upstream: Upstream, head: bytes, method: str, header_bytes: int) -> tuple[ResponseHead, float]:
    """Send a request without a body; the head of the answer, and the seconds it took from a connected socket on.

    Raises UpstreamFailed.
    """
    loop = asyncio.get_running_loop()
    pool = Pool(upstream, ResponseHeadParser(loop), header_bytes)
    exchange = None
    try:
        exchange = await pool.open()
        began = time.monotonic()
        limit_s = patience_s(upstream)
        exchange.send(head, method, first_byte_s=limit_s, total_s=limit_s)
        if exchange.head is None:
            await exchange.answered()
        took_s = time.monotonic() - began
        assert exchange.head is not None, "answered means that there is a head"
        learning = upstream.learning
        answer = exchange.head if learning is None else await understood(exchange, learning, patient=True)
        return answer, took_s
    finally:
        if exchange is not None:
            exchange.abort()
        pool.close()
