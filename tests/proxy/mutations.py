"""Valid messages, made wrong: the same seed always makes the same messages."""

from collections.abc import Callable, Iterator, Sequence
from random import Random

PIECES = (
    b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\n\n", b"\0", b" ", b"\t", b"\x0b", b"\x0c", b"\x7f", b"\x85", b"\xa0",
    b"\xff", b":", b";", b",", b"+", b"-", b"_", b"0x", b"0", b"00", b"a", b'"', b"#", b"//", b"%2F", b"..", b"@",
    b"0\r\n\r\n", b"5\r\nhello\r\n", b"\r\n ", b"\r\n\t", b" : ", b"chunked", b", chunked", b"identity",
    b"Content-Length: 3\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: b\r\n",
    b"Transfer-Encoding : chunked\r\n", b"Transfer_Encoding: chunked\r\n", b"Connection: close\r\n",
    b"Connection: Content-Length\r\n", b"Expect: 100-continue\r\n", b"X: \x80\r\n", b"X: a\rb\r\n", b" HTTP/1.1",
    b"GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
)  # fmt: skip
DIGITS = b"0123456789abcdefABCDEF"


class Mutator:
    """Draws messages from a corpus, each changed in one to three places."""

    def __init__(self, seed: int, corpus: Sequence[bytes]) -> None:
        self._random = Random(seed)
        self._corpus = corpus
        self._ways: tuple[Callable[[bytes], bytes], ...] = (
            self._flip, self._insert, self._delete, self._repeat_line, self._splice, self._line_ends, self._length,
            self._replace,
        )  # fmt: skip

    def below(self, bound: int) -> int:
        """0 … bound - 1."""
        return int(self._random.random() * bound)

    def messages(self, count: int) -> Iterator[bytes]:
        for _ in range(count):
            yield self.mutate(self._corpus[self.below(len(self._corpus))])

    def mutate(self, message: bytes) -> bytes:
        """The message with one to three changes."""
        for _ in range(1 + self.below(3)):
            message = self._ways[self.below(len(self._ways))](message)
        return message

    def split(self, data: bytes) -> list[bytes]:
        """The same bytes in up to four pieces."""
        cuts = sorted(self.below(len(data) + 1) for _ in range(self.below(4)))
        return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True) if a < b]

    def _flip(self, message: bytes) -> bytes:
        at = self.below(len(message))
        return message[:at] + bytes([message[at] ^ (1 << self.below(8))]) + message[at + 1 :] if message else b"\0"

    def _insert(self, message: bytes) -> bytes:
        at = self.below(len(message) + 1)
        return message[:at] + PIECES[self.below(len(PIECES))] + message[at:]

    def _replace(self, message: bytes) -> bytes:
        at = self.below(len(message) + 1)
        return message[:at] + PIECES[self.below(len(PIECES))] + message[at + 1 :]

    def _delete(self, message: bytes) -> bytes:
        at = self.below(len(message) + 1)
        return message[:at] + message[at + 1 + self.below(4) :]

    def _repeat_line(self, message: bytes) -> bytes:
        lines = message.split(b"\r\n")
        at = self.below(len(lines))
        to = self.below(len(lines))
        return b"\r\n".join([*lines[:to], lines[at], *lines[to:]])

    def _splice(self, message: bytes) -> bytes:
        other = self._corpus[self.below(len(self._corpus))]
        return message[: self.below(len(message) + 1)] + other[self.below(len(other)) :]

    def _line_ends(self, message: bytes) -> bytes:
        """One or all of the line ends, written differently."""
        end = (b"\n", b"\r", b"\r\r\n", b"\n\r")[self.below(4)]
        lines = message.split(b"\r\n")
        if len(lines) == 1 or not self.below(8):
            return message.replace(b"\r\n", end)
        at = 1 + self.below(len(lines) - 1)
        return b"\r\n".join(lines[:at]) + end + b"\r\n".join(lines[at:])

    def _length(self, message: bytes) -> bytes:
        """One digit becomes another, or several."""
        places = [i for i, byte in enumerate(message) if byte in DIGITS]
        if not places:
            return message + b"0"
        at = places[self.below(len(places))]
        digit = DIGITS[self.below(len(DIGITS))]
        return message[:at] + bytes([digit]) * (1 + self.below(2)) + message[at + self.below(2) :]
