"""An issuer's key set, fetched over HTTPS: at the start, again and again, and when a token names an unknown key.

Whatever happens to the fetching, the keys that are known stay in use. There is never more than one fetch in flight.
"""

import asyncio
import os
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from hashlib import sha256
from pathlib import Path

import aiohttp

from gateway.certificate_files import begin_with, trusting
from gateway.core.access.authentication import Jwt
from gateway.identity.keys import BadKeys, PublicKey, read_jwks
from gateway.lasting import lasting
from gateway.own_files import open_own, read_own
from gateway.unanswered import why_unanswered
from gateway.waiting import end

FETCH_S = 5.0
MAX_BYTES = 256 * 1024
RENEW_INTERVAL_S = 10.0
"""Least time between two fetches that unknown keys cause: made-up tokens must not become requests to the issuer."""
FIRST_RETRY_S = 1.0
MAX_RETRY_S = 10.0

OnKeys = Callable[[tuple[PublicKey, ...]], None]
OnFailure = Callable[[str], None]


class FetchFailed(Exception):
    """The message says why, without anything of the answer."""


class RemoteKeys:
    """The keys behind one URL. `on_keys` is told of every fetch that succeeded, `on_failure` why one did not.

    clock    monotonic seconds
    kept_in  a folder of this gateway's: what was fetched last is left there (`kept`) for whoever begins while the
             issuer is away
    """

    def __init__(
        self,
        scheme: Jwt,
        on_keys: OnKeys,
        on_failure: OnFailure,
        clock: Callable[[], float] = time.monotonic,
        kept_in: Path | None = None,
    ) -> None:
        """Raises OSError for an unusable `ca_file`."""
        self._url = scheme.jwks
        self._refresh_s = scheme.refresh_us / 1e6
        self._on_keys = on_keys
        self._on_failure = on_failure
        self._clock = clock
        whose = sha256(f"{scheme.jwks}\0{scheme.ca_file}".encode()).hexdigest()  # and who vouched for it
        self.kept = kept_in / f"jwks-{whose}" if kept_in is not None else None
        self._ca_file = scheme.ca_file
        self._use(begin_with(trusting, self._ca_file))
        self._session: aiohttp.ClientSession | None = None
        self._flight: asyncio.Task[bool] | None = None
        self._loop: asyncio.Task[None] | None = None
        self._renewed = -RENEW_INTERVAL_S
        self._fetched_last = b""

    def read_certificates(self) -> Sequence[Callable[[], None]]:
        """As `reload.certificates.Trusting` has it."""
        return [partial(self._use, trusting(self._ca_file))] if self._ca_file else []

    def _use(self, tls: ssl.SSLContext) -> None:
        self._tls = tls

    async def start(self) -> None:
        """Fetch once, within FETCH_S, and keep the keys fresh from then on. Where that fails, begin with those that
        were fetched for others."""
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=FETCH_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
            auto_decompress=False,
        )
        fresh = await self._fetched()
        if not fresh:
            self._use_kept()
        self._loop = lasting("keys of an issuer", partial(self._keep_fresh, fresh))

    async def renew(self) -> bool:
        """A token names a key that is not known: wait for a fetch. False: it is too early for another one."""
        if self._session is None or self._session.closed:  # its scheme has left the policies meanwhile
            return False
        if self._flight is None:
            now = self._clock()
            if now - self._renewed < RENEW_INTERVAL_S:
                return False
            self._renewed = now
        return await self._fetched()

    async def close(self, *, awaited: bool = False) -> None:
        """Stop keeping them fresh. `awaited`: calls may wait for the fetch that is under way, so it may end."""
        await end(self._loop)
        if (flight := self._flight) is not None:
            if not awaited:
                flight.cancel()
            await asyncio.wait((flight,))
        if self._session is not None:
            await self._session.close()

    def forget(self) -> None:
        """Nobody is to begin with these keys any more."""
        if self.kept is not None:
            with suppress(OSError):
                self.kept.unlink()

    async def _keep_fresh(self, fresh: bool) -> None:
        retry_s = FIRST_RETRY_S
        while True:
            await asyncio.sleep(self._refresh_s if fresh else min(retry_s, self._refresh_s))
            retry_s = FIRST_RETRY_S if fresh else min(2 * retry_s, MAX_RETRY_S)
            fresh = await self._fetched()

    async def _fetched(self) -> bool:
        """Join the fetch in flight, or begin one. Whoever stops waiting does not stop it. Whether it succeeded."""
        if self._flight is None:
            self._flight = asyncio.create_task(self._fly())
        flight = self._flight
        await asyncio.wait((flight,))
        return not flight.cancelled() and flight.result()

    async def _fly(self) -> bool:
        try:
            fetched = await self._fetch()
            self._on_keys(read_jwks(fetched))
            self._keep(fetched)
        except (FetchFailed, BadKeys) as error:
            self._on_failure(str(error))
            return False
        finally:
            self._flight = None
        return True

    def put_back(self) -> None:
        """Keep again what was fetched last, if somebody has removed it."""
        if self._fetched_last and self.kept is not None and not self.kept.exists():
            self._keep(self._fetched_last)

    def _keep(self, fetched: bytes) -> None:
        """Workers may do this at the same time; whoever reads finds all that one of them fetched."""
        self._fetched_last = fetched
        if self.kept is not None:
            hidden = self.kept.with_name(f".{self.kept.name}-{os.getpid()}")
            try:
                with os.fdopen(open_own(hidden, os.O_CREAT | os.O_WRONLY), "wb") as file:
                    file.truncate()
                    file.write(fetched)
                hidden.rename(self.kept)
            except OSError:  # nobody needs it yet
                with suppress(OSError):
                    hidden.unlink()

    def _use_kept(self) -> None:
        if self.kept is not None:
            with suppress(OSError, BadKeys):
                kept = read_own(self.kept)
                self._on_keys(read_jwks(kept))
                self._fetched_last = kept

    async def _fetch(self) -> bytes:
        """The body. No redirect is followed, no proxy used, no cookie kept. Raises FetchFailed."""
        assert self._session is not None
        try:
            async with self._session.get(self._url, allow_redirects=False, ssl=self._tls) as answer:
                if answer.status != 200:
                    raise FetchFailed(f"answered with status {answer.status}")
                content = b""
                async for piece in answer.content.iter_any():
                    content += piece
                    if len(content) > MAX_BYTES:
                        raise FetchFailed(f"answer larger than {MAX_BYTES // 1024} KiB")
                return content
        except TimeoutError:
            raise FetchFailed(f"no answer within {FETCH_S:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise FetchFailed(why_unanswered(error)) from None
