"""Answers of upstreams in the store, for every worker of every gateway; and who of them fetches what is missing.

They have a link of their own: a decision about a call never waits behind an answer of a megabyte.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from gateway.core.cache.place import Found, Place
from gateway.core.cache.rules import Stored
from gateway.core.keys import encode_part
from gateway.names import KnownNames
from gateway.settings import StoreSettings
from gateway.store import StoreDown
from gateway.store.connection.link import Argument
from gateway.store.open import Scripted, open_store
from gateway.store.scripts.answers import (
    ANSWERS,
    about,
    beginning,
    decode_found,
    member,
    named,
    pack_answer,
    target_of,
)

TIMEOUT_US = 250_000
"""For an answer of a megabyte over a busy line; in this time a small upstream would have answered itself."""


def open_answers(settings: StoreSettings, url: str, known: KnownNames | None = None) -> "SharedAnswers | None":
    """Where the counters live, over a link of its own that is not started yet; None for a store inside one process."""
    timeout_us = max(TIMEOUT_US, settings.timeout_us)
    store = open_store(replace(settings, timeout_us=timeout_us), url=url, known=known)
    return SharedAnswers(store) if isinstance(store, Scripted) else None


class SharedAnswers:
    """`find`, `purge` and `size` raise StoreDown; all else is told and not waited for: what is lost is fetched again.

    now_us  0 = the server's clock; anything else is for tests
    """

    def __init__(self, store: Scripted, *, now_us: int = 0) -> None:
        self.now_us = now_us
        self._store = store
        self._telling: set[asyncio.Future[Any]] = set()
        self._started = False

    @property
    def up(self) -> bool:
        """Whether the store answers."""
        return self._store.up

    async def start(self) -> None:
        """Connect, if that was not begun before. A store that is down is tried again in the background."""
        if not self._started:
            self._started = True
            with suppress(StoreDown):
                await self._store.start()

    async def close(self) -> None:
        """Close the link to the store. Idempotent."""
        await self._store.close()
        if self._telling:
            await asyncio.wait(self._telling)

    async def find(
        self,
        place: Place,
        known: Stored | None,
        now_us: int,
        *,
        token: str = "",
        lease_ms: int = 0,
        insist: bool = False,
    ) -> Found:
        """What is kept at a place.

        known   what the asker has of it; now_us: its clock
        token   names who would fetch what is missing; "" = the asker would not
        insist  also if it is there: it cannot be used as it is
        """
        stamp = known.stamp if known is not None else ""
        arguments = [*named(place), stamp, target_of(place.shelf.target), token, lease_ms, int(insist)]
        reply = await self._run("find", place.room, arguments)
        return decode_found(reply, known, place.vary, now_us)

    def put(self, place: Place, stored: Stored, *, asked_us: int, now_us: int, most_bytes: int) -> None:
        """Keep an answer, unless somebody has said since it was asked for that it is wrong."""
        keep_ms = stored.useful_us() // 1000
        if keep_ms > 0:
            arguments = [*named(place), stored.stamp, target_of(stored.target), max(0, now_us - asked_us)]
            self._tell("put", place.room, [*arguments, keep_ms, most_bytes, about(stored), pack_answer(stored, now_us)])

    def renew(self, place: Place, token: str, lease_ms: int) -> None:
        """This one is still fetching it: others go on waiting, from now on for so long."""
        self._tell("renew", place.room, [member(place), token, lease_ms])

    def release(self, place: Place, token: str, outcome: str, for_ms: int) -> None:
        """This one does not fetch it any more. outcome: `own` or `failed`, told to others for so long; "" = nothing."""
        self._tell("release", place.room, [member(place), token, outcome, for_ms])

    def forget(self, room: str, target: str) -> None:
        """Whatever is kept in the room for this target is wrong, and so is what was asked for before now."""
        self._tell("forget", room, [target_of(target)])

    async def purge(self, room: str, tenant: str | None, prefix: str) -> int:
        """Drop the answers in a room to calls of one tenant (None: of any) for such targets. How many there were."""
        whose, gone, at = "" if tenant is None else encode_part(tenant or None), 0, 0
        while at >= 0:
            wanted: list[Argument] = [whose, prefix.encode("utf-8", "surrogateescape"), at]
            _, count, at = await self._run("purge", room, wanted)
            gone += count
        return gone

    async def size(self, room: str) -> tuple[int, int]:
        """How many answers there are in a room that have not expired, and about how many bytes they take."""
        count, size_bytes, more = 0, 0, 1
        while more:
            _, count, size_bytes, more = await self._run("size", room, [])
        return count, size_bytes

    def _run(self, op: str, room: str, arguments: Sequence[Argument]) -> Awaitable[Any]:
        """Sent by the time this returns, where there is one server: what is told first, happens first."""
        return self._store.run(ANSWERS, [*beginning(op, self._store.key_prefix, room, self.now_us), *arguments])

    def _tell(self, op: str, room: str, arguments: Sequence[Argument]) -> None:
        if self._store.up:
            telling = asyncio.ensure_future(self._run(op, room, arguments))
            self._telling.add(telling)
            telling.add_done_callback(self._told)

    def _told(self, telling: "asyncio.Future[Any]") -> None:
        self._telling.discard(telling)
        if not telling.cancelled():
            telling.exception()  # StoreDown: it is lost
