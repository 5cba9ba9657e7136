"""Whose call it is, by address: the peer, or what trusted proxies say about it (RFC 7239, X-Forwarded-For).

The list is walked from the right, because only its right end was written by somebody we trust; the first address that
is not a trusted proxy is the client. Everything to the left of it is hearsay.
"""

import ipaddress
from collections.abc import Iterable, Sequence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def networks(cidrs: Iterable[str]) -> tuple[Network, ...]:
    """Parsed CIDRs; a bare address is its own network. Raises ValueError."""
    return tuple(ipaddress.ip_network(cidr, strict=False) for cidr in cidrs)


def parse(text: str) -> Address | None:
    """An address as it stands in a forwarding field: brackets, port and quotes allowed; None when it is none.

    IPv4-mapped IPv6 addresses come back as IPv4: the same client must not have two identities.
    """
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def trusted(address: Address, proxies: Sequence[Network]) -> bool:
    """Whether the address belongs to one of the trusted networks."""
    return any(address.version == network.version and address in network for network in proxies)


def from_forwarded(values: Iterable[str]) -> list[str]:
    """The clients named by `Forwarded` fields, leftmost first; "" for an element without one."""
    return [_for_parameter(element) for value in values for element in value.split(",")]


def from_x_forwarded_for(values: Iterable[str]) -> list[str]:
    """The clients named by `X-Forwarded-For` fields, leftmost first."""
    return [element.strip() for value in values for element in value.split(",")]


def _for_parameter(element: str) -> str:
    for pair in element.split(";"):
        name, _, value = pair.partition("=")
        if name.strip().lower() == "for":
            return value
    return ""


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
