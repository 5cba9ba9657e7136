"""Who is asking: reading the parts of a key from a request, and naming the partition they make up.

A partition key is text that goes into the store. Two different callers never share one, whatever they send: a value
either stands for itself (letters, digits and `._~@+-` only, at most 64 of them) or is replaced by its hash, and the two
forms, and the caller without a value, begin differently.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from hashlib import blake2b
from ipaddress import IPv6Address, ip_address, ip_network
from urllib.parse import quote, unquote_plus, urlencode

from gateway.core.access.authentication import Identity, claim_text
from gateway.core.http.targets import decoded, host_name
from gateway.core.limits import Limit


class KeyFrom(StrEnum):
    """Where a key part's value comes from."""

    HEADER = "header"
    PATH = "path"
    QUERY = "query"
    CLIENT_IP = "client_ip"
    API_KEY = "api_key"
    API_KEY_ENTRY = "api_key_entry"
    JWT = "jwt"


VOUCHED = (KeyFrom.API_KEY_ENTRY, KeyFrom.JWT)
"""Sources that are read from a verified identity, never from what a request merely says."""


class OnMissing(StrEnum):
    """What a limit does when one of its key parts has no value."""

    REJECT = "reject"
    SKIP = "skip"
    ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True)
class KeyPart:
    """How to read one key part from a request.

    source_name  header: field name, lower case. path: name of a `{parameter}` of the route's path pattern.
                 query: parameter name. api_key: header that carries the key, lower case. client_ip: unused.
                 jwt: name of the claim. api_key_entry: unused, an entry names key parts.
    ipv6_prefix  client_ip only: IPv6 addresses count by this prefix length
    """

    name: str
    source: KeyFrom
    source_name: str
    on_missing: OnMissing
    ipv6_prefix: int = 64


ANONYMOUS = "~"
HASHED = "#"
_EVERYBODY = "*"
_PLAIN = re.compile(r"[A-Za-z0-9._~@+-]{1,64}").fullmatch
_HASH_BYTES = 16
_BLANKS = (
    "".join(map(chr, range(0x21)))
    + "\x7f\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    + "\u2028\u2029\u202f\u205f\u3000\ufeff\udc85\udca0"
)
"""What one server or another trims off a value; the last two are NEL and NBSP in Latin-1, as escaped bytes."""
_SECRET_FIELDS = frozenset(
    {"authorization", "cookie", "x-api-key", "api-key", "apikey", "x-auth-token", "x-access-token"}
)
_SECRET_PARAMETERS = frozenset({"api_key", "api-key", "apikey", "access_token", "auth_token", "token"})
_HASHED = re.compile(rf"key-[0-9a-f]{{{2 * _HASH_BYTES}}}").fullmatch
_API_KEY_DOMAIN = b"gateway api key"  # keeps these hashes apart from those of partition keys; not a secret


def partition_key(limit: Limit, parts: Mapping[str, str | None]) -> str:
    """Which counter of `limit` a caller with these parts uses; see `partition`."""
    return partition(limit.name, limit.key, parts)


def partition(name: str, key: Sequence[str], parts: Mapping[str, str | None]) -> str:
    """`<name>:{<first part>}<:other part>*`: what is counted under this name for a caller with these parts.

    key    the parts it counts by
    parts  at least those; None = the caller has no value and counts as anonymous

    The braces are the hash tag of a Redis Cluster. What counts everybody together has the tag `{*}`.
    """
    if not key:
        return f"{name}:{{{_EVERYBODY}}}"
    first, *others = key
    text = f"{name}:{{{encode_part(parts[first])}}}"
    for other in others:
        text += ":" + encode_part(parts[other])
    return text


def readable(partition: str) -> str:
    """The parts of a partition as people see them: `c1`, or `c1, x`; a hash stays one, anonymous is `~`."""
    tag, _, others = partition.partition("{")[2].partition("}")
    return ", ".join(part.removeprefix("=") for part in (tag, *others.split(":")) if part)


def readable_parts(partition: str, key: Sequence[str]) -> dict[str, str]:
    """What its caller has for each part of `key`; without those that it has not, or whose values are hashed."""
    tag, _, others = partition.partition("{")[2].partition("}")
    found = zip(key, (tag, *others.split(":")[1:]), strict=False)  # without a key there is the tag of everybody
    return {name: part.removeprefix("=") for name, part in found if part.startswith("=")}


def encode_part(value: str | None) -> str:
    """`=value`, `#<32 hex>` or `~`: injective for values that blake2b keeps apart, and at most 65 characters."""
    if value is None:
        return ANONYMOUS
    if _PLAIN(value):
        return "=" + value
    # surrogatepass, because surrogateescape would map an undecodable byte and the character it belongs to together
    return HASHED + blake2b(value.encode("utf-8", "surrogatepass"), digest_size=_HASH_BYTES).hexdigest()


def read_key(
    part: KeyPart, headers: Mapping[str, str], path_params: Mapping[str, str], query: str, client_ip: str
) -> str | None:
    """The value of one key part, None when it is missing or empty.

    headers      looked up by lower-case name; the mapping is case-insensitive. Of a repeated field the first counts
    path_params  raw segments as `find_route` gives them
    query        raw text behind the `?`. Of a repeated parameter the first counts
    client_ip    textual address, "" when unknown

    Path and query values are percent-decoded, blanks around any value do not count, and a `Host` is read as routes read
    it, so that no spelling of a value has a counter of its own. Of an API key, or of a field or parameter that carries
    one by its usual name, only a hash is returned. What credentials must vouch for is always missing here: see
    `vouched`.
    """
    return _READERS[part.source](part, headers, path_params, query, client_ip) or None


def as_read(part: KeyPart, value: str) -> str | None:
    """How the value reads of a caller who says `value`; None when none says it. Policies have to write what is read.

    What `hides` it is itself when it is a hash already.
    """
    if part.source in VOUCHED:
        return value if value.strip() else None
    if part.source is KeyFrom.CLIENT_IP:
        return _address_read(value, part.ipv6_prefix)
    if hides(part) and _HASHED(value):
        return value
    name = part.source_name
    return read_key(part, {name: value}, {name: quote(value, safe="")}, urlencode({name: value}), "")


def hides(part: KeyPart) -> bool:
    """Whether only a hash of the value is ever known."""
    if part.source is KeyFrom.QUERY:
        return part.source_name in _SECRET_PARAMETERS
    return part.source is KeyFrom.API_KEY or (part.source is KeyFrom.HEADER and part.source_name in _SECRET_FIELDS)


def _address_read(text: str, ipv6_prefix: int) -> str | None:
    """Of a network only an IPv6 one is one caller."""
    bare, network, _ = text.partition("/")
    try:
        read = client_network(str(ip_address(bare)), ipv6_prefix)
    except ValueError:
        return None
    return None if network and ":" not in read else read


def _header(part: KeyPart, headers: Mapping[str, str], path: Mapping[str, str], query: str, ip: str) -> str | None:
    if part.source_name in _SECRET_FIELDS:
        return _api_key(part, headers, path, query, ip)
    value = headers.get(part.source_name)
    if not value:
        return None
    value = value.strip(_BLANKS)
    return host_name(value) if part.source_name == "host" else value


def _path(part: KeyPart, _headers: Mapping[str, str], path: Mapping[str, str], _query: str, _ip: str) -> str | None:
    raw = path.get(part.source_name)
    return decoded(raw).strip(_BLANKS) if raw is not None else None


def _query(part: KeyPart, _headers: Mapping[str, str], _path: Mapping[str, str], query: str, _ip: str) -> str | None:
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if name == part.source_name or unquote_plus(name) == part.source_name:
            text = unquote_plus(value, errors="surrogateescape").strip(_BLANKS)
            return _hashed(text) if text and part.source_name in _SECRET_PARAMETERS else text
    return None


def _client_ip(part: KeyPart, _headers: Mapping[str, str], _path: Mapping[str, str], _query: str, ip: str) -> str:
    return client_network(ip, part.ipv6_prefix) if ":" in ip else ip


def _api_key(part: KeyPart, headers: Mapping[str, str], _path: Mapping[str, str], _query: str, _ip: str) -> str | None:
    value = (headers.get(part.source_name) or "").strip(_BLANKS)
    if not value:
        return None
    if part.source_name == "authorization":  # RFC 9110 §11.4: the scheme in any case, then blanks
        scheme, *rest = value.split(None, 1)
        value = " ".join((scheme.lower(), *rest))
    return _hashed(value)


def _hashed(secret: str) -> str:
    text = secret.encode("utf-8", "surrogatepass")
    return "key-" + blake2b(text, digest_size=_HASH_BYTES, key=_API_KEY_DOMAIN).hexdigest()


def _not_said(_part: KeyPart, _headers: Mapping[str, str], _path: Mapping[str, str], _query: str, _ip: str) -> None:
    return None


_READERS: Mapping[KeyFrom, Callable[[KeyPart, Mapping[str, str], Mapping[str, str], str, str], str | None]] = {
    KeyFrom.HEADER: _header,
    KeyFrom.PATH: _path,
    KeyFrom.QUERY: _query,
    KeyFrom.CLIENT_IP: _client_ip,
    KeyFrom.API_KEY: _api_key,
    KeyFrom.API_KEY_ENTRY: _not_said,
    KeyFrom.JWT: _not_said,
}


def vouched(part: KeyPart, identity: Identity) -> str | None:
    """The value of a key part that is read from credentials, None when they do not say it, or only blanks.

    A token says it under the claim that the part names. The entry of an API key names key parts themselves.
    """
    if identity.from_token and part.source is not KeyFrom.JWT:
        return None
    text = claim_text(identity.claims.get(part.source_name if identity.from_token else part.name))
    return text if text and not text.isspace() else None


@lru_cache(maxsize=8192)
def client_network(ip: str, ipv6_prefix: int) -> str:
    """What an IPv6 address counts as: its network of that prefix length, `2001:db8::/64`.

    An IPv4-mapped address counts as the IPv4 address it stands for (RFC 4291 §2.5.5.2), zone ids are dropped, and text
    that is no address is returned as it is.
    """
    try:
        address = ip_address(ip.partition("%")[0])
    except ValueError:
        return ip
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ip_network((address, ipv6_prefix), strict=False))
