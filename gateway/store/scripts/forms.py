"""What asks the store for decisions, put together from pieces that are packed once.

All callers of a route are asked the same guards and limits; only the keys differ. So what a worker remembers of a
caller are the keys, and the rules once.
"""

from collections.abc import Sequence
from struct import pack

from gateway.core.ask import Ask
from gateway.store.scripts.limits import decode_admit, decode_several
from gateway.store.scripts.sources import ADMIT

_EVALSHA = b"*%d\r\n$7\r\nEVALSHA\r\n$40\r\n%b\r\n%b"
_ONCE = b"$5\r\nadmit\r\n$1\r\n0\r\n$0\r\n\r\n"
_SEVERAL = b"$7\r\nseveral\r\n$1\r\n0\r\n%b"
_ARGUMENTS = 3
"""Of each of the two, before the rules: op, now_us, lease."""


def bulk(argument: bytes) -> bytes:
    """One argument of a command as the protocol's bytes."""
    return b"$%d\r\n%b\r\n" % (len(argument), argument)


class AdmitForm:
    """How decisions by these rules are asked for, see `Form`. A question is an `Ask` that remembers this form.

    keys   how many each caller has
    rules  the arguments that tell what each of the keys is
    """

    __slots__ = ("_arguments", "_head", "_keys", "_rules", "_tail")

    source = ADMIT.source
    decode = staticmethod(decode_admit)
    decode_several = staticmethod(decode_several)

    def __init__(self, keys: int, rules: Sequence[bytes]) -> None:
        self._keys = keys
        self._rules = b"".join(map(bulk, rules))
        self._arguments = 3 + _ARGUMENTS + len(rules)
        self._head = self._begin(1)
        self._tail = _ONCE + self._rules

    def _begin(self, callers: int) -> bytes:
        keys = callers * self._keys
        return _EVALSHA % (self._arguments + keys, ADMIT.sha1_hex.encode(), bulk(b"%d" % keys))

    def question(self, ask: Ask) -> bytes:
        """A caller's keys: on all routes by these rules that share them."""
        keys: bytes = ask.packed
        return keys

    def once(self, ask: Ask) -> bytes:
        """Admit one call."""
        keys: bytes = ask.packed
        return self._head + keys + self._tail

    def several(self, asked: Sequence[tuple[Ask, int]]) -> bytes:
        """Admit so many calls (at most 65,535) of each of these callers."""
        times = pack(f">{len(asked)}H", *[times for _, times in asked])
        keys = b"".join([ask.packed for ask, _ in asked])
        return b"%b%b%b%b" % (self._begin(len(asked)), keys, _SEVERAL % bulk(times), self._rules)
