"""Tokens in the store, where all workers find them and only those who have a key can read them.

Sealed by Fernet (AES-128-CBC and HMAC-SHA-256, `cryptography`). The first key seals, all of them open: to change keys,
put the new one behind the old one on every gateway, then in front, and take the old one out when no token sealed with
it lives any more.
"""

import hmac
import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import orjson

from gateway.core.access.credentials import OAuth
from gateway.core.access.hidden import NOTHING_HIDDEN, Hidden
from gateway.core.access.tokens import LONGEST_LIFE_US, Failure, Token
from gateway.core.units import DAY_US
from gateway.store.shared.shelf import Found, Shelf

LEASE_US = 20_000_000
"""Longer than one request to an endpoint may take. Who dies in it holds the others up for so long."""
KEEP_REFRESH_US = 90 * DAY_US
"""A refresh token that the endpoint has put in the place of the configured one is kept for so long after its use."""
_MARK = re.compile(r" #[0-9a-f]{16}$")
"""Behind the reason of a failure, see `_mark`."""


class Taken(NamedTuple):
    """What was found, opened.

    version  what there is; 0 = nothing
    token    None = there is none, or it was asked for with something else
    left_us  how much of its life is left; 0 or less = nothing
    refresh  the refresh token to use next; empty = there is none but the configured one
    mine     it is for the taker to ask the endpoint; behind `put`: this is what was put
    failure  what came of it when another worker asked last; None = nobody says
    held_us  for how long the endpoint is another's, or is to be left alone
    """

    version: int
    token: Token | None
    left_us: int
    refresh: Hidden
    mine: bool
    failure: Failure | None
    held_us: int


class Vault:
    """The place of one credential's token.

    owner   names this worker
    shared  whether others can get at what is kept: there are keys, and the store is not this process alone
    """

    def __init__(self, name: str, oauth: OAuth, shelf: Shelf, owner: str) -> None:
        """`name`: of the credential."""
        self._shelf = shelf
        self._owner = owner
        self._name = place_of(name, oauth)
        self._of = _fingerprint(oauth)
        self._keys = oauth.token_keys
        self._refused_as = [_mark(key, self._of) for key in oauth.token_keys]
        self._silent_as = [_mark(key, oauth.token_url) for key in oauth.token_keys]
        self._box: Any = None
        self._keep_us = KEEP_REFRESH_US if oauth.grant == "refresh_token" else LONGEST_LIFE_US
        self.shared = bool(oauth.token_keys) and shelf.shared

    async def take(self, version: int) -> Taken | None:
        """What others have put there since `version`, else the lease; that something else was refused, an earlier
        secret say, or that another endpoint is away, holds nobody up. None: the store does not answer, or nothing is
        shared."""
        if not self.shared:
            return None
        marks = " ".join((*self._refused_as, *self._silent_as))
        return self._taken(await self._shelf.take(self._name, self._owner, version, LEASE_US, marks))

    async def put(self, token: Token, left_us: int, version: int) -> Taken | None:
        """Keep it for all, unless somebody has put something since `version`, or another is about to. What is there
        then. None as in `take`."""
        if not self.shared:
            return None
        said = {"of": self._of, "access": token.access.reveal(), "refresh": token.refresh.reveal()}
        sealed = self._open_box().encrypt(orjson.dumps({**said, "life_us": token.life_us}))
        return self._taken(await self._shelf.put(self._name, self._owner, version, sealed, left_us, self._keep_us))

    async def fail(self, failure: Failure, for_us: int, version: int) -> None:
        """Tell the others that the endpoint failed, and for how long it is to be left alone; as in `put`."""
        if self.shared:
            word, marks = ("refused", self._refused_as) if failure.refused else ("unavailable", self._silent_as)
            reason = f"{word}: {failure.reason} #{marks[0]}"
            await self._shelf.fail(self._name, self._owner, version, reason, for_us)

    def _taken(self, found: Found | None) -> Taken | None:
        if found is None:
            return None
        token, refresh = self._opened(found)
        return Taken(found.version, token, found.left_us, refresh, found.mine, _failure(found.holder), found.held_us)

    def _opened(self, found: Found) -> tuple[Token | None, Hidden]:
        """What is sealed with a key that we do not have is as good as nothing. A refresh token goes on although what is
        asked for has changed; an access token does not."""
        from cryptography.fernet import InvalidToken

        try:
            said: dict[str, Any] = orjson.loads(self._open_box().decrypt(found.sealed)) if found.sealed else {}
        except (InvalidToken, ValueError):
            return None, NOTHING_HIDDEN
        refresh = Hidden(said.get("refresh", ""))
        if said.get("of") != self._of:
            return None, refresh
        return Token(Hidden(said["access"]), said["life_us"], refresh), refresh

    def _open_box(self) -> Any:
        if self._box is None:
            self._box = _box(self._keys)
        return self._box


def _failure(holder: str) -> Failure | None:
    if not holder.startswith("!"):
        return None
    word, _, reason = holder[1:].partition(": ")
    return Failure(word == "refused", _MARK.sub("", reason))


def _box(keys: Sequence[Hidden]) -> Any:
    from cryptography.fernet import Fernet, MultiFernet

    return MultiFernet([Fernet(key.reveal()) for key in keys])


def place_of(name: str, oauth: OAuth) -> str:
    """What begins with one refresh token has one place, whatever the credential is called and whatever else about it
    changes: each refresh token follows from the one before."""
    if oauth.grant != "refresh_token":
        return name
    of = (oauth.token_url, oauth.client_id, oauth.refresh_token.reveal())
    return sha256(orjson.dumps(of)).hexdigest()[:32]


def _fingerprint(oauth: OAuth) -> str:
    """Of everything that a token was asked for with: what was had with another secret or scope is not taken over.

    It stands only inside what is sealed: see `_mark`.
    """
    parameters = [(name, value.reveal()) for name, value in oauth.parameters]
    asked = (oauth.grant, oauth.token_url, oauth.client_id, oauth.client_secret.reveal(), oauth.refresh_token.reveal())
    return sha256(orjson.dumps((*asked, oauth.scope, parameters))).hexdigest()


def _mark(key: Hidden, of: str) -> str:
    """What tells what was asked for from something else, to be seen by everybody who can read the store: without the
    key nobody can try which secret it is of."""
    return hmac.digest(key.reveal().encode(), of.encode(), "sha256").hex()[:16]
