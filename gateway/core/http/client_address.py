"""Whose call it is, by address: the peer, or what trusted proxies say about it (RFC 7239, X-Forwarded-For).

The list is walked from the right, because only its right end was written by somebody we trust; the first address that
is not a trusted proxy is the client. Everything to the left of it is hearsay, so `Forwarded` is also taken apart from
the right: no quote that a caller opens can swallow what a proxy has put behind it.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence

from gateway.core.public_address import Address, Network

_NODE = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?")
"""RFC 7239 §6: an address, IPv6 in brackets, and a port or its obfuscated name."""
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_MAPPED_PREFIX = 96  # ::ffff:0:0/96, RFC 4291 §2.5.5.2
_ESCAPED = re.compile(r"\\(.)")


def networks(cidrs: Iterable[str]) -> tuple[Network, ...]:
    """Parsed CIDRs; a bare address is its own network, an IPv4-mapped one counts as IPv4. Raises ValueError."""
    return tuple(_unmapped(ipaddress.ip_network(cidr, strict=False)) for cidr in cidrs)


def _unmapped(network: Network) -> Network:
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    if mapped is None or network.prefixlen < _MAPPED_PREFIX:
        return network
    return ipaddress.IPv4Network((mapped, network.prefixlen - _MAPPED_PREFIX))


def parse(text: str) -> Address | None:
    """An address as it stands in a forwarding field: brackets, port and quotes allowed; None when it is none.

    IPv4-mapped IPv6 addresses come back as IPv4 and zones are dropped: the same client must not have two identities.
    """
    text = text.strip(" \t")
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1]
    node = _NODE.fullmatch(text)
    try:
        address = ipaddress.ip_address(text if node is None else node[1] or node[2])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        return address.ipv4_mapped or ipaddress.IPv6Address(int(address))
    return address


def trusted(address: Address, proxies: Sequence[Network]) -> bool:
    """Whether the address belongs to one of the trusted networks."""
    return any(address.version == network.version and address in network for network in proxies)


def from_forwarded(values: Iterable[str]) -> list[str]:
    """The clients named by `Forwarded` fields, leftmost first; "" for an element that names none, or two."""
    return [_for_parameter(element) for element in split(",".join(values), ",")]


def from_x_forwarded_for(values: Iterable[str]) -> list[str]:
    """The clients named by `X-Forwarded-For` fields, leftmost first."""
    text = ",".join(values)
    return [element.strip(" \t") for element in text.split(",")] if text else []


def split(text: str, separator: str) -> list[str]:
    """The parts of a field value between separators outside quotes, quotes paired from the right; [] for no text.

    Read from the right, the quote that opens is the first that no backslash precedes (RFC 9110 §5.6.4).
    """
    if '"' not in text:
        return text.split(separator) if text else []
    parts, end, quoted = [], len(text), False
    for mark in reversed(list(re.finditer(rf'\\?"|{separator}', text))):
        if mark[0] == separator:
            if not quoted:
                parts.append(text[mark.end() : end])
                end = mark.start()
        elif not quoted or mark[0] == '"':
            quoted = not quoted
    return [text[:end], *reversed(parts)]


def _for_parameter(element: str) -> str:
    """The value of the one `for` in an element, unquoted; "" when there is none, more than one, or a broken one."""
    found = [
        value.strip(" \t")
        for name, _, value in (pair.partition("=") for pair in split(element, ";"))
        if name.strip(" \t").lower() == "for"
    ]
    if len(found) != 1:
        return ""
    quoted = _QUOTED.fullmatch(found[0])
    if quoted is not None:
        return _ESCAPED.sub(r"\1", quoted[1])
    return "" if '"' in found[0] else found[0]


def client(peer: str, forwarded: Sequence[str], x_forwarded_for: Sequence[str], proxies: Sequence[Network]) -> str:
    """The client's address in canonical text. `peer` is the socket's; a peer that is no address stays as it is.

    A proxy writes one of the two fields and passes the other as the caller sent it, so when both are there and do not
    agree, one of them is a lie and neither is believed.
    """
    if not forwarded or not x_forwarded_for:
        return _walk(peer, forwarded or x_forwarded_for, proxies)
    one, other = _walk(peer, forwarded, proxies), _walk(peer, x_forwarded_for, proxies)
    return one if one == other else _walk(peer, (), proxies)


def _walk(peer: str, chain: Sequence[str], proxies: Sequence[Network]) -> str:
    address = parse(peer)
    if address is None:
        return peer
    for text in reversed(chain):
        if not trusted(address, proxies):
            break
        nearer = parse(text)
        if nearer is None:
            break
        address = nearer
    return str(address)
