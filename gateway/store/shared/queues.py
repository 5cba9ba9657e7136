"""Queues of letters that survive this process: each is a stream of the store with a consumer group of all workers.

A letter that is in a queue is delivered at least once, and tried by one worker at a time. `store/lua/queue_take.lua`
describes what is kept. On a Redis Cluster all queues of one office are in one slot.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import Enum
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson

from gateway.core.units import SECOND_US
from gateway.core.webhooks.redelivery import Step
from gateway.names import KnownNames
from gateway.settings import StoreSettings
from gateway.store.connection.link import Argument
from gateway.store.open import Scripted, redis_store
from gateway.store.scripts.sources import Script, load_script

TIMEOUT_US = SECOND_US
"""For one command: bodies are larger than decisions, and `appendfsync always` waits for a disk."""
LEASE_MARGIN_MS = 10_000
PATIENCE = 5
FIRST_REST_MS, LONGEST_REST_MS = 2_000, 300_000
MOST_DEAD = 10_000
LONGEST_NAME_BYTES = 128
MARKS_FIELD, REPLAYED = "gateway-webhook-marks", "replayed"
"""How whoever gets a letter is told what is odd about it."""
_PARTS = ("due", "tries", "first", "rest", "dead", "kept", "log")
"""What belongs to a queue besides its stream: see `queue_take.lua`."""
_SURROGATE = re.compile("[\ud800-\udfff]").search

APPEND = load_script("queue_append", "clock", "queue_append")
TAKE = load_script("queue_take", "clock", "queue_take")
SETTLE = load_script("queue_settle", "clock", "queue_settle")
SHOW = load_script("queue_show", "clock", "queue_show")
AGAIN = load_script("queue_again", "clock", "queue_again")

APPEND_ARGV = ("op", "now_us", "id", "seen_ms", "most", "all", "key", "place", "marks", "fields", "body")
TAKE_ARGV = ("op", "now_us", "worker", "count", "concurrency", "lease_ms", "patience")
SETTLE_ARGV = (
    *("op", "now_us", "worker", "entry", "key", "wait_ms", "blamed", "patience", "rest_ms", "longest_ms"),
    *("most_dead", "why", "log", "keep", "keep_ms"),
)
SHOW_ARGV, AGAIN_ARGV = ("op", "now_us", "tries", "dead"), ("op", "now_us", "id", "from", "to", "most")


class Letter(NamedTuple):
    """What goes into queues.

    about   what its sequence number counts, like a connection
    key     letters with the same key are delivered one after the other; "" = in no order
    place   a number that rises from letter to letter with this key; None = not known
    marks   what is known to be odd about it: `l` late
    fields  for whoever delivers it: JSON
    """

    id: str
    body: bytes
    about: str = ""
    key: str = ""
    place: int | None = None
    marks: str = ""
    fields: Mapping[str, str] = {}


class Appended(NamedTuple):
    """result: 1 = taken, 0 = had been taken before, -1 = no room. full: queues that had none. broken: what is in their
    place in the store is no queue; nothing was put there."""

    result: int
    sequence: int
    full: Sequence[str]
    broken: Sequence[str] = ()


class Taken(NamedTuple):
    """A letter to be tried now.

    entry  its name in the queue
    tries  including the one to come
    age_us since it came
    marks  besides those of `Letter`: `o` out of order, `r` replayed
    """

    entry: str
    tries: int
    age_us: int
    id: str
    key: str
    sequence: int
    marks: str
    fields: Mapping[str, str]
    body: bytes


class Settled(NamedTuple):
    """settled: 0 = it is somebody else's by now. resting_ms: for how long the receiver is left alone from now on.
    failures: of the receiver in a row, before this try if it succeeded. lost: dead letters that had to go."""

    settled: int
    resting_ms: int
    failures: int
    lost: int


class Standing(NamedTuple):
    """How a queue stands. `tries` are documents, `letters` fields of dead letters; the newest first. `kept`: letters
    that were delivered and can be replayed."""

    waiting: int
    trying: int
    due: int
    dead: int
    resting_ms: int
    failures: int
    oldest_ms: int
    tries: Sequence[Mapping[str, Any]]
    letters: Sequence[Mapping[str, str]]
    kept: int


class Which(Enum):
    """Letters that can be tried again."""

    DEAD = "redrive"
    DELIVERED = "replay"


class Again(NamedTuple):
    """moved: letters that are tried again. left: those that could be, whatever their id and time. full: it ended
    because no more may wait in the queue. after: where to go on, "" = nowhere. to: the last to be looked at."""

    moved: int
    left: int
    full: bool
    after: str
    to: str


def open_queue_store(settings: StoreSettings, url: str = "", known: KnownNames | None = None) -> Scripted | None:
    """A link of its own to where the counters live, so that bodies never delay decisions; None when they live in this
    process. url and known: as for `open_store`."""
    patient = replace(settings, timeout_us=max(TIMEOUT_US, settings.timeout_us))
    place = url or settings.url
    return None if place in ("local", "embedded") else redis_store(patient, place, decides=False, known=known)


class Office:
    """All queues that one letter may go into. Every method that awaits raises StoreDown and nothing else.

    name    letters, digits and what else is no brace
    now_us  0 = the server's clock; anything else is for tests
    """

    def __init__(self, store: Scripted, name: str, *, now_us: int = 0) -> None:
        self.name = name
        self.now_us = now_us
        self._store = store
        self._base = f"{store.key_prefix}queue:{{{name}}}:"

    async def append(
        self, letter: Letter, queues: Sequence[str], *, seen_ms: int, most: int, every: bool = True
    ) -> Appended:
        """Put it into these queues, if none with this id was put there within `seen_ms`; 0 = look for none.

        most   letters that may wait in a queue
        every  into all of them or none; else into those that have room
        """
        base = self._base
        keys = [f"{base}seen:{letter.id}", f"{base}place:{letter.key}", f"{base}sequence:{letter.about}"]
        keys += [self._stream(queue) for queue in queues]
        place = "" if letter.place is None else str(letter.place)
        said: Sequence[Argument] = (
            seen_ms,
            most,
            int(every),
            letter.key,
            place,
            letter.marks,
            orjson.dumps(letter.fields),
            letter.body,
        )
        arguments = [len(keys), *keys, "append", self.now_us, letter.id, *said]
        result, sequence, *those = await self._store.run(APPEND, arguments)
        full = [queues[index - 1] for index in those if index > 0]
        broken = tuple(queues[-index - 1] for index in those if index < 0)
        return Appended(result, sequence, full, broken)

    async def take(
        self, queue: str, worker: str, count: int, *, concurrency: int, lease_ms: int
    ) -> tuple[int, list[Taken]]:
        """Letters for this worker to try now, at most `count`, and in how many ms there may be more (-1 = who knows).

        concurrency  how many all workers together may try at once
        lease_ms     a letter that is not settled for so long is somebody else's
        """
        arguments = [count, concurrency, lease_ms, PATIENCE]
        wait_ms, *letters = await self._run(TAKE, queue, "take", worker, *arguments)
        return wait_ms, [_taken(letter) for letter in letters]

    async def settle(
        self,
        queue: str,
        worker: str,
        taken: Taken,
        step: Step,
        *,
        wait_ms: int = 0,
        blamed: bool = False,
        why: str = "",
        keep: int = 0,
        keep_ms: int = 0,
        log: Mapping[str, Any],
    ) -> Settled:
        """Say what became of a letter that this worker took.

        wait_ms  for RETRY
        blamed   whether the receiver is at fault: after PATIENCE such tries in a row it is left alone for a while
        keep     for DONE: so many of the delivered letters are kept for `keep_ms`, to be replayed
        """
        rest = (PATIENCE, FIRST_REST_MS, LONGEST_REST_MS, MOST_DEAD)
        said = (worker, taken.entry, taken.key, wait_ms, int(blamed), *rest, why, orjson.dumps(log), keep, keep_ms)
        lanes = (f"lane:{taken.key}",) if taken.key else ()
        return Settled(*await self._run(SETTLE, queue, step.value, *said, lanes=lanes))

    async def show(self, queue: str, *, tries: int = 0, dead: int = 0) -> Standing:
        """How the queue stands, with so many of its last tries and dead letters."""
        *numbers, log, letters, kept = await self._run(SHOW, queue, "show", tries, dead)
        return Standing._make([*numbers, [orjson.loads(one) for one in log], [_pairs(one) for one in letters], kept])

    async def again(
        self, queue: str, which: Which, *, most: int, id_: str = "", after: str = "-", to: str = ""
    ) -> Again:
        """Try letters again, the oldest first, all or those with this id. Some hundred are looked at; the answer says
        where to go on. For dead letters the receiver's rest ends; for all of them, waits for another try do, too, a
        thousand at a time.

        most       letters that may wait in the queue
        after, to  milliseconds since 1970, when they were given up or delivered; or as the last answer had it
        """
        moved, left, full, *place = await self._run(AGAIN, queue, which.value, id_, after, to, most)
        return Again(moved, left, bool(full), *(one.decode() for one in place))

    async def _run(self, script: Script, queue: str, op: str, *arguments: Argument, lanes: Sequence[str] = ()) -> Any:
        stream = self._stream(queue)
        keys = [stream, *(f"{stream}:{part}" for part in (*_PARTS, *lanes))]
        return await self._store.run(script, [len(keys), *keys, op, self.now_us, *arguments])

    def _stream(self, queue: str) -> str:
        return f"{self._base}to:{queue}"


def short(name: str) -> str:
    """What names something in keys: itself, or its digest when it is long or no text (lone surrogates)."""
    encoded = name.encode("utf-8", "surrogatepass")
    if len(encoded) <= LONGEST_NAME_BYTES and not _SURROGATE(name):
        return name
    return f"#{blake2b(encoded, digest_size=16).hexdigest()}"


def _taken(letter: Sequence[Any]) -> Taken:
    """Also of what somebody else has written there: what cannot be read is left empty."""
    entry, tries, age_us, id_, key, sequence, marks, fields, body = letter
    texts = [one.decode("utf-8", "replace") for one in (entry, id_, key, marks)]
    name, id_text, key_text, marks_text = texts
    return Taken(name, tries, int(age_us), id_text, key_text, _number(sequence), marks_text, _fields(fields), body)


def _number(text: bytes) -> int:
    return int(text) if text.isdigit() else 0


def _fields(text: bytes) -> Mapping[str, str]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _pairs(flat: Sequence[bytes]) -> dict[str, str]:
    texts = [one.decode("utf-8", "replace") for one in flat]
    return dict(zip(texts[::2], texts[1::2], strict=True))
