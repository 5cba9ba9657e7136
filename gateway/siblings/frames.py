"""How messages travel between workers and their supervisor: a fixed head, then JSON that only its reader looks into.

    kind (1 byte) | from (4) | to (4) | question (4) | body bytes (4) | body

The supervisor passes messages on by their heads alone, so nothing that workers say can make it stumble.
"""

from collections.abc import Iterator
from enum import IntEnum
from struct import Struct
from typing import Any, NamedTuple

import orjson

MAX_BODY_BYTES = 1024 * 1024
MOST_WAITING_BYTES = 2 * 1024 * 1024
"""For who does not read, at either end of a line."""
ALL, SUPERVISOR, LEADER = 0xFFFF_FFFF, 0xFFFF_FFFE, 0xFFFF_FFFD
FIRST_LINE, LAST_LINE = 0x1_0000, 0xFFFF_0000
"""Addresses. Below FIRST_LINE: whoever is worker of that index; from there on: one process, by its line. LEADER: the
one worker that the supervisor has told to lead, for what only one may do."""

_HEAD = Struct(">BIIII")


class Kind(IntEnum):
    """What a message is.

    EXPECT  from the supervisor to who asked: the body lists the (line, index) of those who were asked
    GONE    from the supervisor to who asked, or to all: `sender` will not answer; `question` 0 = none at all
    """

    ASK = 1
    ANSWER = 2
    TELL = 3
    EXPECT = 4
    GONE = 5


class Message(NamedTuple):
    """`question` joins an answer to what was asked; 0 where nothing is."""

    kind: Kind
    sender: int
    to: int
    question: int
    body: bytes

    def encode(self) -> bytes:
        """As it is sent. Raises ValueError when the body is too long."""
        if len(self.body) > MAX_BODY_BYTES:
            raise ValueError(f"a message of {len(self.body)} bytes; at most {MAX_BODY_BYTES} are sent")
        return _HEAD.pack(self.kind, self.sender, self.to, self.question, len(self.body)) + self.body


def pack(body: object) -> bytes:
    """A body as it is sent. Raises ValueError for what JSON has no word for."""
    try:
        return orjson.dumps(body)
    except TypeError as error:  # orjson.JSONEncodeError is one
        raise ValueError(str(error)) from None


def unpack(body: bytes) -> Any:
    """What was packed. Raises ValueError when it was not."""
    return orjson.loads(body)


class Decoder:
    """Bytes in, messages out."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, received: bytes) -> Iterator[Message]:
        """The messages that are complete now. Raises ValueError for what is not a message: nothing can follow it."""
        self._rest += received
        while len(self._rest) >= _HEAD.size:
            kind, sender, to, question, size = _HEAD.unpack_from(self._rest)
            if size > MAX_BODY_BYTES:
                raise ValueError(f"a message of {size} bytes; at most {MAX_BODY_BYTES} are read")
            end = _HEAD.size + size
            if len(self._rest) < end:
                return
            body = bytes(self._rest[_HEAD.size : end])
            del self._rest[:end]
            yield Message(Kind(kind), sender, to, question, body)
