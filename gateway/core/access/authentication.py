"""Who a caller is, proven: the schemes of authentication, what they find out, and what a route may ask of it.

The values here are made at load time (schemes) or once per credential (identities). Checking the signature of a token
needs libraries and is done in `gateway.identity`; everything that is only looking up and comparing is here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from hashlib import blake2b, sha256
from typing import NamedTuple, Protocol

_PERSON = b"gateway api key"  # blake2b's personalization: this hash of a text is of use nowhere else
HASH_BYTES = 32


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller whose credentials hold.

    scheme      name of the scheme that found out
    key_id      names the key for logs, never the credential: id of the API key's entry, or `kid` of the signing key
    claims      what the credentials vouch for. Of a token: the issuer's names; of an API key: names of key parts
    from_token  which of the two
    """

    scheme: str
    key_id: str
    claims: Mapping[str, object]
    from_token: bool = False


class Fault(IntEnum):
    """Why a caller is not known. The greater one is told when schemes fail for different reasons."""

    MISSING = 0
    INVALID = 1
    UNAVAILABLE = 2


class Denied(NamedTuple):
    """`reason` is for the log: a constant text without anything from the request."""

    fault: Fault
    reason: str


NO_CREDENTIALS = Denied(Fault.MISSING, "no credentials")
UNKNOWN_API_KEY = Denied(Fault.INVALID, "unknown API key")


@dataclass(frozen=True, slots=True)
class ApiKeys:
    """Keys that were handed out; only their hashes are known here.

    header   lower-case name of the field that carries the key; `authorization` carries it as a bearer token
    entries  hash name (see DIGESTS) -> digest -> whom the key stands for
    pepper   key of the keyed hash, "" = none; it is not in the files that hold the hashes
    """

    name: str
    header: str
    entries: Mapping[str, Mapping[bytes, Identity]]
    forward_credentials: bool = False
    pepper: bytes = field(default=b"", repr=False)
    source: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Jwt:
    """Tokens of one issuer (RFC 7519), signed with keys from exactly one of `jwks`, `keys` and `secret`.

    header      as in ApiKeys
    audience    a token must be meant for one of these
    algorithms  names of RFC 7518 §3.1; all symmetric (with `secret`) or none of them
    jwks        URL of the issuer's key set; fetched anew every `refresh_us`
    ca_file     PEM file that verifies that URL's server; "" = the system's
    keys        public keys: texts of PEM or JWK files
    leeway_s    how far the issuer's clock may be off
    claims      what key parts and routes ask for; the other claims of a token are forgotten
    """

    name: str
    header: str
    issuer: str
    audience: tuple[str, ...]
    algorithms: tuple[str, ...]
    jwks: str = ""
    ca_file: str = ""
    refresh_us: int = 300_000_000
    keys: tuple[str, ...] = field(default=(), repr=False)
    secret: bytes = field(default=b"", repr=False)
    leeway_s: int = 30
    claims: frozenset[str] = frozenset()
    forward_credentials: bool = False
    source: str = field(default="", compare=False)


Scheme = ApiKeys | Jwt


def _blake2b(key: bytes, pepper: bytes) -> bytes:
    return blake2b(key, digest_size=HASH_BYTES, key=pepper, person=_PERSON).digest()


def _sha256(key: bytes, _pepper: bytes) -> bytes:
    return sha256(key).digest()


DIGESTS: Mapping[str, Callable[[bytes, bytes], bytes]] = {"blake2b": _blake2b, "sha256": _sha256}
"""Hash name -> digest of (API key, pepper). sha256 is there for hashes that other tools made, and takes no pepper."""


def hash_text(key: str, pepper: bytes = b"") -> str:
    """What stands for an API key in a file: `blake2b:` and 64 hex digits. `pepper` has at most 64 bytes."""
    return f"blake2b:{_blake2b(key.encode('utf-8', 'surrogatepass'), pepper).hex()}"


def find_entry(scheme: ApiKeys, key: str) -> Identity | Denied:
    """The caller an API key stands for; Denied if it is unknown.

    The digest is looked up in a dictionary. How long that takes may tell how the digest compares with others, and
    nothing of the kind about the key: whoever can choose keys by their digests has already broken the hash. So no
    comparison here has to take constant time.
    """
    text = key.encode("utf-8", "surrogatepass")
    for name, identities in scheme.entries.items():
        identity = identities.get(DIGESTS[name](text, scheme.pepper))
        if identity is not None:
            return identity
    return UNKNOWN_API_KEY


class Headers(Protocol):
    """Case-insensitive fields that may repeat."""

    def getall(self, key: str, default: Sequence[str], /) -> Sequence[str]: ...


def credential(header: str, headers: Headers) -> str | None:
    """What a request shows in a field: None = nothing of ours, "" = nothing that could be right.

    In `authorization` the scheme is Bearer (RFC 6750 §2.1, RFC 9110 §11.4: any case); other schemes are not ours. A
    field that stands twice is never right: the upstream might read the other one.
    """
    values = headers.getall(header, ())
    if not values:
        return None
    if len(values) > 1:
        return ""
    if header != "authorization":
        return values[0]
    scheme, _, token = values[0].partition(" ")
    return token.strip(" ") if scheme.lower() == "bearer" else None


def meets(require: Sequence[tuple[str, str]], identity: Identity) -> bool:
    """Whether the identity has every required (claim, value)."""
    return all(_has(identity.claims.get(name), name, value) for name, value in require)


def _has(claim: object, name: str, value: str) -> bool:
    """Equal, or one of a list, or one word of a `scope` (RFC 8693 §4.2: separated by spaces)."""
    if isinstance(claim, str):
        return value in claim.split(" ") if name in ("scope", "scp") else claim == value
    return isinstance(claim, list | tuple) and value in claim


def claim_text(claim: object) -> str | None:
    """A claim as the value of a key part: text or a whole number; of a list of one, that one."""
    if isinstance(claim, list | tuple) and len(claim) == 1:
        claim = claim[0]
    if isinstance(claim, str):
        return claim
    return str(claim) if isinstance(claim, int) and not isinstance(claim, bool) else None
