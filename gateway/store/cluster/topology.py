"""Which server of a Redis Cluster serves which slots, as any of its servers tells it, and which slot a key is in."""

from collections.abc import Collection, Mapping, Sequence

from redis.cluster import parse_cluster_slots
from redis.crc import key_slot

from gateway.core.store_url import StoreUrl
from gateway.store import StoreDown
from gateway.store.connection.dial import ask_once
from gateway.store.connection.names import Names
from gateway.store.connection.transports import Address


def slot_of(key: str) -> int:
    """The slot of a key: of what stands between its first braces, else of all (Redis Cluster specification)."""
    return key_slot(key.encode())


async def discover(url: StoreUrl, addresses: Sequence[Address], names: Names) -> Mapping[Address, Collection[int]]:
    """{address of a primary: its slots}, as the first of these servers says that answers.

    Raises StoreDown when none does: with what the last one said.
    """
    fault = StoreDown("connect", "no server of the cluster is known")
    for host, port in addresses:
        try:
            told = await ask_once(url, "CLUSTER", "SLOTS", address=(host, port), names=names)
        except StoreDown as down:
            fault = StoreDown(down.kind, f"{host}:{port}: {down.detail}")
            continue
        found: dict[Address, set[int]] = {}
        for (first, last), servers in parse_cluster_slots(told, current_host=host).items():
            found.setdefault(servers["primary"], set()).update(range(first, last + 1))
        if found:
            return found
        fault = StoreDown("other", f"{host}:{port}: no slots are assigned in the cluster")
    raise fault
