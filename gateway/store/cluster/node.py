"""One server of a Redis Cluster."""

import asyncio
from time import monotonic
from typing import Any

from gateway.store import StoreDown
from gateway.store.connection.commands import with_source
from gateway.store.connection.crowd import Form
from gateway.store.connection.faults import code_of
from gateway.store.connection.link import Decode, pack
from gateway.store.connection.pipeline import Pipeline
from gateway.store.connection.transports import Address

Message = tuple[bytes, Decode | None, Any, str]
"""The arguments of `Pipeline.ask`."""

_ASKING = pack(("ASKING",))


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

    def ask(self, message: Message, form: Form | None) -> "asyncio.Future[Any]":
        """`Pipeline.ask`; in this form, if it has one, together with those who ask the same: another cost of the same
        keys is another form, and callers' keys may be in different slots."""
        if form is None:
            return self.pipeline.ask(*message)
        question = message[2]
        return self.pipeline.ask_in(form, question, (form, form.question(question)))

    @property
    def fault(self) -> StoreDown | None:
        """Why commands fail there right now, and where that is; None while it is up."""
        fault = self.pipeline.fault
        return StoreDown(fault.kind, f"{self.name}: {fault.detail}") if fault is not None else None

    async def ask_this_time(self, message: Message) -> Any:
        """Ask it about a slot that is on its way to it (`-ASK`). Raises what `Pipeline.ask` does.

        ASKING holds for the next command, so a script that is not known has to be told of behind another one.
        """
        self.used_at = monotonic()
        command, decode, context, source = message
        await self.pipeline.tried()
        self.pipeline.tell(_ASKING)
        try:
            return await self.pipeline.ask(command, decode, context)
        except StoreDown as fault:
            if not source or code_of(fault.detail) != "NOSCRIPT":
                raise
        self.pipeline.tell(_ASKING)
        return await self.pipeline.ask(with_source(command, source), decode, context)
