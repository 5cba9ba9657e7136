"""Verifying tokens: signature, issuer, audience and time, always all of them; and remembering those that hold.

A signature costs 30 to 150 µs to verify, and a caller shows the same token for minutes: what it says is remembered by
the token's hash until it expires, or until the issuer's keys change.
"""

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Any

import jwt

from gateway.core.access.authentication import Denied, Fault, Identity, Jwt
from gateway.identity.keys import PublicKey

MAX_REMEMBERED = 10_000
MAX_CANDIDATES = 4  # keys tried for one token that does not name its key
KEY_ID_CHARS = 64

NO_KEYS = Denied(Fault.UNAVAILABLE, "the issuer's keys are not known yet")
UNKNOWN_KEY = Denied(Fault.INVALID, "token signed with an unknown key")
_EXPIRED = Denied(Fault.INVALID, "token expired")
_MALFORMED = Denied(Fault.INVALID, "malformed token")
_ALGORITHM = Denied(Fault.INVALID, "token's algorithm is not allowed")
_MISFIT = Denied(Fault.INVALID, "token's algorithm does not fit the key")
_MANY = Denied(Fault.INVALID, "too many keys may have signed the token")
_SIGNATURE = Denied(Fault.INVALID, "token's signature is wrong")
_REASONS: Sequence[tuple[type[Exception], Denied]] = (
    (jwt.ExpiredSignatureError, _EXPIRED),
    (jwt.ImmatureSignatureError, Denied(Fault.INVALID, "token is not valid yet")),
    (jwt.MissingRequiredClaimError, Denied(Fault.INVALID, "token lacks a required claim")),
    (jwt.InvalidAudienceError, Denied(Fault.INVALID, "token is meant for another audience")),
    (jwt.InvalidIssuerError, Denied(Fault.INVALID, "token is from another issuer")),
)


class Tokens:
    """The tokens of one scheme. `keys` are replaced whole; until there are any, nobody can be known.

    wall_clock  epoch seconds
    """

    def __init__(self, scheme: Jwt, keys: Iterable[PublicKey], wall_clock: Callable[[], float]) -> None:
        self._scheme = scheme
        self._wall_clock = wall_clock
        self._allowed = frozenset(scheme.algorithms)
        self._remembered: dict[bytes, tuple[Identity, float]] = {}
        self._keys = tuple(keys)
        if scheme.secret:
            self._keys = (PublicKey(None, self._allowed, scheme.secret),)

    def use(self, keys: Sequence[PublicKey]) -> bool:
        """From now on these keys. Whether that is a change; if so every token is verified anew."""
        if tuple(keys) == self._keys:
            return False
        self._keys = tuple(keys)
        self._remembered.clear()
        return True

    def check(self, token: str) -> Identity | Denied:
        """Whom the token stands for, now."""
        digest = sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._remembered.get(digest)
        if known is None:
            return self._verify(token, digest)
        if self._wall_clock() < known[1]:
            return known[0]
        del self._remembered[digest]
        return _EXPIRED

    def _verify(self, token: str, digest: bytes) -> Identity | Denied:
        if not self._keys:
            return NO_KEYS
        try:
            header = jwt.get_unverified_header(token)
            found = self._candidates(header)
            claims = found if isinstance(found, Denied) else self._claims(token, header["alg"], found)
            if isinstance(claims, Denied):
                return claims
            until_s = int(claims["exp"]) + self._scheme.leeway_s
        except Exception:  # whatever a token makes a library do: deeply nested JSON, numbers beyond bounds, odd types
            return _MALFORMED
        if self._wall_clock() >= until_s:
            return _EXPIRED
        needed = {name: claims[name] for name in self._scheme.claims if name in claims}
        identity = Identity(self._scheme.name, str(header.get("kid", ""))[:KEY_ID_CHARS], needed, from_token=True)
        self._remember(digest, identity, until_s)
        return identity

    def _candidates(self, header: dict[str, Any]) -> list[PublicKey] | Denied:
        """The keys that the token may be signed with. Where a token says to find its key (`jku`, `x5u`, `jwk`) is of
        no interest."""
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in self._allowed:
            return _ALGORITHM
        named = [key for key in self._keys if kid is None or key.kid is None or key.kid == kid]
        if not named:
            return UNKNOWN_KEY
        fitting = [key for key in named if algorithm in key.algorithms]
        if len(fitting) > MAX_CANDIDATES:
            return _MANY
        return fitting or _MISFIT

    def _claims(self, token: str, algorithm: str, keys: Sequence[PublicKey]) -> dict[str, Any] | Denied:
        scheme = self._scheme
        for key in keys:
            try:
                return jwt.decode(
                    token,
                    key.key,
                    algorithms=[algorithm],
                    issuer=scheme.issuer,
                    audience=scheme.audience,
                    leeway=scheme.leeway_s,
                    options={"require": ["exp", "iss", "aud"]},
                )
            except jwt.InvalidSignatureError:
                continue
            except jwt.PyJWTError as error:
                return next((denied for kind, denied in _REASONS if isinstance(error, kind)), _MALFORMED)
        return _SIGNATURE

    def _remember(self, digest: bytes, identity: Identity, until_s: float) -> None:
        """Bounded: the oldest goes first."""
        if len(self._remembered) >= MAX_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[digest] = (identity, until_s)
