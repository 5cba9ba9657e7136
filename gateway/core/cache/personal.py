"""Which request fields say who is calling: what was answered to them is that caller's own.

RFC 9111 §3.5 has it so for Authorization alone. Many APIs take keys and tokens in fields of their own, whose names
nobody lists; so whatever is named like one counts, and a policy says which one does not.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from gateway.core.http.fields import lower
from gateway.core.http.framing import Fields

AUTHORIZATION, COOKIE = b"authorization", b"cookie"

_NAMED_LIKE_ONE = re.compile(
    rb"auth|bearer|cert|cookie|credential|jwt|key|passw|secret|session|signature|token"
    rb"|consumer|impersonat|oidc|principal|remote.user|userinfo"
).search
"""What carries a key, a token or a password; and by what proxies tell a server whom they have let in."""
_KEYS_TO_NOTHING = frozenset({b"idempotency-key", b"x-idempotency-key", b"sec-websocket-key"})


MAX_NAME_BYTES = 64
"""Longer names are not remembered: callers choose them."""


def named_like_credentials(name: bytes) -> bool:
    """Whether a field with this lower-case name looks as if it carried a key, a token or a password."""
    return _remembered(name) if len(name) <= MAX_NAME_BYTES else _looked_at(name)


def _looked_at(name: bytes) -> bool:
    return name not in _KEYS_TO_NOTHING and _NAMED_LIKE_ONE(name) is not None


_remembered = lru_cache(1024)(_looked_at)


@dataclass(frozen=True, slots=True)
class Personal:
    """What counts on one route, in lower case.

    also    fields that say who is calling whatever they are named
    exempt  fields that do not, or whose values keep answers apart anyway
    """

    also: frozenset[bytes] = frozenset()
    exempt: frozenset[bytes] = frozenset()

    def of(self, request: Fields) -> frozenset[bytes]:
        """The names of the fields by which this request says who is calling."""
        return frozenset(name for name in (lower[field] for field, _ in request) if self.names(name))

    def names(self, name: bytes) -> bool:
        """Whether a field of this name says who is calling."""
        return name not in self.exempt and (name in self.also or named_like_credentials(name))


ANYBODY = Personal()
