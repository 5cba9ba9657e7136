"""All schemes of the loaded policies, ready to check credentials with."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.core.access.authentication import (
    NO_CREDENTIALS,
    Denied,
    Headers,
    Identity,
    Jwt,
    Scheme,
    credential,
    find_entry,
)
from gateway.core.policy import PolicySet

if TYPE_CHECKING:
    from gateway.identity.jwks import RemoteKeys
    from gateway.identity.keys import PublicKey
    from gateway.identity.tokens import Tokens

OnEvent = Callable[[str, Mapping[str, object]], None]
Check = Callable[[str], Identity | Denied]


def _no_event(_name: str, _fields: Mapping[str, object]) -> None: ...


class Authenticator:
    """Checks by scheme, for one policy set: a call that waits for keys goes on with the schemes it began with.

    on_event    told of `authentication.keys_loaded` and `authentication.keys_failed`
    wall_clock  epoch seconds
    clock       monotonic seconds
    """

    def __init__(
        self,
        wall_clock: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.on_event: OnEvent = _no_event
        self._wall_clock = wall_clock
        self._clock = clock
        self._schemes: dict[str, Scheme] = {}
        self._checks: dict[str, Check] = {}
        self._remotes: dict[str, RemoteKeys] = {}
        self._kept_in: Path | None = None

    async def load(self, policies: PolicySet, kept_in: Path | None = None) -> None:
        """Make the schemes of a set ready that are not yet, remote keys fetched if they can be; `kept_in`: see
        `RemoteKeys`."""
        self._kept_in = kept_in
        new = [scheme for name, scheme in policies.authentication.items() if name not in self._schemes]
        for scheme in new:
            self._schemes[scheme.name] = scheme
            self._checks[scheme.name] = self._tokens(scheme) if isinstance(scheme, Jwt) else partial(find_entry, scheme)
        remotes = [self._remotes[scheme.name] for scheme in new if scheme.name in self._remotes]
        await asyncio.gather(*[remote.start() for remote in remotes])

    async def successor(self, policies: PolicySet) -> "Authenticator":
        """One for another set. Schemes that did not change are shared, with their keys and the tokens they know."""
        after = Authenticator(self._wall_clock, self._clock)
        after.on_event = self.on_event
        for name, scheme in self._schemes.items():
            if policies.authentication.get(name) == scheme:
                after._schemes[name], after._checks[name] = scheme, self._checks[name]
                if name in self._remotes:
                    after._remotes[name] = self._remotes[name]
        await after.load(policies, self._kept_in)
        return after

    def read_certificates(self) -> Sequence[Callable[[], None]]:
        """As `Trusting` has it: each `ca_file` of a key set."""
        return [use for remote in self._remotes.values() for use in remote.read_certificates()]

    def put_back(self) -> None:
        """Somebody may have removed what is kept for those who begin."""
        for remote in self._remotes.values():
            remote.put_back()

    async def close(self, shared_with: "Authenticator | None" = None) -> None:
        """Stop fetching keys, but for those that another one goes on using; calls that began with this one get the keys
        that they wait for."""
        others, awaited = shared_with._remotes.values() if shared_with is not None else (), shared_with is not None
        gone = [remote for remote in self._remotes.values() if remote not in others]
        await asyncio.gather(*[remote.close(awaited=awaited) for remote in gone])
        if shared_with is not None:
            for remote in gone:
                if remote.kept not in {other.kept for other in others}:
                    remote.forget()

    async def authenticate(self, schemes: Sequence[Scheme], headers: Headers) -> Identity | Denied:
        """Who is calling, by the first scheme that knows. Waits only for keys that a token names and nobody knows."""
        denied = NO_CREDENTIALS
        for scheme in schemes:
            shown = credential(scheme.header, headers)
            if shown is None:
                continue
            found = self._checks[scheme.name](shown)
            if isinstance(found, Denied) and scheme.name in self._remotes:
                found = await self._once_more(scheme.name, shown, found)
            if isinstance(found, Identity):
                return found
            denied = max(denied, found)
        return denied

    async def _once_more(self, name: str, token: str, denied: Denied) -> Identity | Denied:
        """If it may be the keys' fault."""
        from gateway.identity.tokens import UNKNOWN_KEY

        check = self._checks[name]
        return check(token) if denied is UNKNOWN_KEY and await self._remotes[name].renew() else denied

    def _tokens(self, scheme: Jwt) -> Check:
        from gateway.identity.keys import read_keys
        from gateway.identity.tokens import Tokens

        tokens = Tokens(scheme, [key for text in scheme.keys for key in read_keys(text)], self._wall_clock)
        if scheme.jwks:
            from gateway.identity.jwks import RemoteKeys

            self._remotes[scheme.name] = RemoteKeys(
                scheme,
                partial(self._loaded, scheme.name, tokens),
                partial(self._failed, scheme.name),
                self._clock,
                self._kept_in,
            )
        return tokens.check

    def _loaded(self, name: str, tokens: "Tokens", keys: "tuple[PublicKey, ...]") -> None:
        if tokens.use(keys):
            self.on_event("authentication.keys_loaded", {"auth_scheme": name, "count": len(keys)})

    def _failed(self, name: str, reason: str) -> None:
        self.on_event("authentication.keys_failed", {"auth_scheme": name, "reason": reason})
