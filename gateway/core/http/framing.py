"""Message body framing of HTTP/1.1 (RFC 9112 §6, §7), as pure incremental decoders.

A decoder is fed the bytes that follow a message head. It returns the payload pieces it found and, once the body is
complete, the bytes behind it. Everything that could be read in two ways is refused, because a proxy that guesses
differently from the next hop is how requests get smuggled.
"""

import re
from typing import Protocol

MAX_SIZE_LINE_BYTES = 1024
MAX_TRAILER_BYTES = 16 * 1024
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")
_PLAIN_SIZES = {text % size: size for size in range(1, 1024) for text in (b"%x", b"%X")}  # size lines of most chunks
_TRAILER_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*")

Fields = tuple[tuple[bytes, bytes], ...]


class BadFraming(Exception):
    """The body breaks RFC 9112 §7.1. The text is a constant sentence, never input."""


class Decoder(Protocol):
    """Incremental body decoder. After `done` it must not be fed again."""

    done: bool
    trailers: Fields

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """(payload pieces, bytes behind the body); the second is b"" until `done`. Raises BadFraming."""

    def feed_eof(self) -> bool:
        """The peer closed. Returns whether the body is complete by that."""


class NoBody:
    """A message without a body: requests without framing fields, answers to HEAD, 1xx, 204 and 304."""

    done = True
    trailers: Fields = ()

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """No payload: all of it lies behind the body."""
        return [], data

    def feed_eof(self) -> bool:
        """True: there is no body to be cut short."""
        return True


class LengthBody:
    """`Content-Length: n` (RFC 9112 §6.2), n > 0."""

    __slots__ = ("done", "missing", "trailers")

    def __init__(self, length: int) -> None:
        self.missing = length
        self.done = length == 0
        self.trailers: Fields = ()

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """At most the missing bytes are payload."""
        missing = self.missing - len(data)
        if missing > 0:
            self.missing = missing
            return [data], b""
        self.done = True
        taken, self.missing = self.missing, 0
        if missing == 0:
            return [data], b""
        return [data[:taken]], data[taken:]

    def feed_eof(self) -> bool:
        """Whether all bytes had come."""
        return self.done


class CloseDelimited:
    """A response without framing fields: everything until the peer closes (RFC 9112 §6.3 rule 8)."""

    __slots__ = ("done", "trailers")

    def __init__(self) -> None:
        self.done = False
        self.trailers: Fields = ()

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """All of it is payload."""
        return [data], b""

    def feed_eof(self) -> bool:
        """True: the close is what ends this body."""
        self.done = True
        return True


class ChunkedBody:
    """`Transfer-Encoding: chunked` (RFC 9112 §7.1), strict: CRLF only, bounded lines, no sign, no leading blanks.

    Chunk extensions are dropped. `trailers` holds the trailer fields once done.
    """

    __slots__ = ("_line", "_missing", "_step", "_trailer_bytes", "_trailers", "done", "trailers")

    def __init__(self) -> None:
        self.done = False
        self.trailers: Fields = ()
        self._line = b""  # an unfinished line
        self._missing = 0  # bytes of the current chunk still to come
        self._step = self._size_line
        self._trailers: list[tuple[bytes, bytes]] = []
        self._trailer_bytes = 0

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Decode as far as `data` goes."""
        pieces: list[bytes] = []
        position = 0
        while position < len(data) and not self.done:
            if self._missing:
                piece = data[position : position + self._missing]
                self._missing -= len(piece)
                position += len(piece)
                pieces.append(piece)
                if not self._missing:
                    self._step = self._chunk_end
                continue
            if self._step == self._size_line and not self._line:
                position = _take_whole(data, position, pieces)
            position = self._take_line(data, position)
        return pieces, data[position:] if self.done else b""

    def feed_eof(self) -> bool:
        """Only the last chunk ends a chunked body, never the close."""
        return self.done

    def _take_line(self, data: bytes, position: int) -> int:
        """Collect one CRLF-ended line and hand it to the current step."""
        end = data.find(b"\n", position)
        stop = len(data) if end < 0 else end + 1
        self._line += data[position:stop]
        if len(self._line) > MAX_SIZE_LINE_BYTES and self._step != self._trailer_line:
            raise BadFraming("chunk size line too long")
        if len(self._line) + self._trailer_bytes > MAX_TRAILER_BYTES:
            raise BadFraming("trailer section too large")
        if end >= 0:
            line, self._line = self._line, b""
            if not line.endswith(b"\r\n"):
                raise BadFraming("bare LF in chunked body")
            self._step(line[:-2])
        elif b"\r" in self._line[:-1]:
            raise BadFraming("bare CR in chunked body")
        return stop

    def _size_line(self, line: bytes) -> None:
        match = _SIZE_LINE.fullmatch(line)
        if match is None:
            raise BadFraming("malformed chunk size line")
        self._missing = int(match[1], 16)
        if not self._missing:
            self._step = self._trailer_line

    def _chunk_end(self, line: bytes) -> None:
        if line:
            raise BadFraming("chunk longer than its size")
        self._step = self._size_line

    def _trailer_line(self, line: bytes) -> None:
        if not line:
            self.done = True
            self.trailers = tuple(self._trailers)
            return
        match = _TRAILER_LINE.fullmatch(line)
        if match is None:
            raise BadFraming("malformed trailer field")
        self._trailer_bytes += len(line) + 2
        self._trailers.append((match[1], match[2]))


def _take_whole(data: bytes, position: int, pieces: list[bytes]) -> int:
    """Take chunks that are there as a whole and small, up to the first that is not; returns where that begins.

    One read may hold 40,000 of them. Line by line that would keep everybody else waiting for a tenth of a second.
    """
    while (line_end := data.find(b"\r\n", position, position + 5)) > 0:
        size = _PLAIN_SIZES.get(data[position:line_end])
        if size is None:
            break
        end = line_end + 2 + size
        if not data.startswith(b"\r\n", end):
            break
        pieces.append(data[line_end + 2 : end])
        position = end + 2
    return position
