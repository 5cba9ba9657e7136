"""One server of a Redis Cluster."""

from typing import Any

from gateway.store import StoreDown
from gateway.store.cluster.topology import Address
from gateway.store.link import Decode
from gateway.store.pipeline import Pipeline

Message = tuple[bytes, Decode | None, Any, str]
"""The arguments of `Pipeline.ask`."""


class Node:
    """One server.

    tag      a hash tag whose slot it serves; "" = none is known
    used_at  when a command was last sent there that the topology would have sent elsewhere
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self.name = "{}:{}".format(*address)
        self.pipeline: Pipeline
        self.tag = ""
        self.used_at = 0.0

    @property
    def fault(self) -> StoreDown | None:
        """Why commands fail there right now, and where that is; None while it is up."""
        fault = self.pipeline.fault
        return StoreDown(fault.kind, f"{self.name}: {fault.detail}") if fault is not None else None
