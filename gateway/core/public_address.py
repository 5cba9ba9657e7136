"""Which addresses belong to the public internet, and not to this host, its network or its cloud (RFC 6890)."""

import ipaddress
from collections.abc import Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052 §2.1
_UNICAST = ipaddress.ip_network("2000::/3")  # RFC 4291 §2.4: all of IPv6 that is given to hosts of the internet
_OF_CLOUDS = ipaddress.ip_network("168.63.129.16/32")  # Azure's agent service: looks public, is the host's own


def is_public(address: Address) -> bool:
    """Globally routable to one host, also by what it stands for: mapped, 6to4 and NAT64 addresses hide IPv4 ones."""
    hidden = _hidden(address)
    if hidden is not None:
        return is_public(hidden)
    if address in _OF_CLOUDS or (address.version == 6 and address not in _UNICAST):
        return False
    return address.is_global and not address.is_multicast


def may_be_reached(text: str, allowed: Sequence[Network]) -> bool:
    """Whether an address, as a socket names it, is public or in a network that is allowed all the same."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    return is_public(address) or any(address in network for network in allowed if network.version == address.version)


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this host's own: `localhost`, 127.0.0.0/8, ::1."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _hidden(address: Address) -> ipaddress.IPv4Address | None:
    if not isinstance(address, ipaddress.IPv6Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
