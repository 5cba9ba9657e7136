"""Where names of upstreams and of the store have led last: for who begins while DNS is away, a worker or what a reload
has changed.

Workers tell each other, and the process that forks them, so that those who follow know it too.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

AddrInfo = tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int]]
"""As `socket.getaddrinfo` has it."""

Told = Mapping[str, Any]
"""What is told of one name, as JSON has it: `host`, `port`, `found`, `at_s`, `lasting`."""

LASTS_S = 86_400.0
"""How long an answer is kept. Names that no policy has any more are forgotten by it."""
TELL_AGAIN_S = 60.0
"""How often others hear of a name: an answer of then is young, as those count who go by what others were told."""


class Answer(NamedTuple):
    """What DNS has said, and when: by the event loops' clock, which is one for all processes of a host.

    found  nothing = there is no such name, or nobody knows
    """

    found: Sequence[AddrInfo] = ()
    at_s: float = -math.inf


_NOBODY_KNOWS = Answer()


@dataclass(slots=True)
class _Name:
    answer: Answer = _NOBODY_KNOWS
    lasting: bool = False
    told_s: float = -math.inf
    moved_s: float = -math.inf  # when others heard last that it leads elsewhere

    def take(self, answer: Answer) -> bool:
        """Whether it leads elsewhere now: to no address that it led to before."""
        before = {info[4] for info in self.answer.found}
        self.answer = answer
        return bool(before) and before.isdisjoint(info[4] for info in answer.found)

    def is_due(self, moved: bool) -> bool:
        """Whether others should hear of it. Some names lead elsewhere each time they are asked for."""
        last_s = min(self.told_s, self.moved_s) if moved else self.told_s
        return self.answer.at_s >= last_s + TELL_AGAIN_S

    def is_told(self, moved: bool) -> None:
        self.told_s = self.answer.at_s
        if moved:
            self.moved_s = self.answer.at_s


class KnownNames:
    """The last answers of DNS that anybody here has had. They may be old: who can ask asks first."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, int], _Name] = {}
        self._tell: Callable[[Told], object] | None = None
        self._look_s = -math.inf  # when it is looked next for what is too old

    def share(self, tell: Callable[[Told], object]) -> None:
        """Tell of what has been found by now, and from then on: at once when a name leads elsewhere, else once in
        TELL_AGAIN_S."""
        self._tell = tell
        for key, name in self._names.items():
            if name.told_s == -math.inf:
                name.is_told(moved=False)
                tell(_told(key, name))

    def told(self) -> Sequence[Told]:
        """All that is known, for `hear`."""
        return [_told(key, name) for key, name in self._names.items()]

    def hear(self, told: Told) -> None:
        """Somebody else has asked. The youngest answer counts."""
        name = self._name(told["host"], told["port"], told["at_s"])
        name.lasting = name.lasting or told["lasting"]
        if told["at_s"] > name.answer.at_s:
            found: list[AddrInfo] = [(*kind, tuple(address)) for *kind, address in told["found"]]
            name.is_told(name.take(Answer(found, told["at_s"])))

    def note(self, host: str, port: int, found: Sequence[AddrInfo], now_s: float, *, lasting: bool = False) -> None:
        """DNS has answered. Addresses, which need no answer, are not kept.

        lasting  whoever asked goes by it for as long as it likes, and does not ask again: it is kept for good
        """
        if host in {info[4][0] for info in found}:
            return
        name = self._name(host, port, now_s)
        name.lasting = name.lasting or lasting
        moved = name.take(Answer(found, now_s))
        if self._tell is not None and name.is_due(moved):
            name.is_told(moved)
            self._tell(_told((host, port), name))

    def forget(self, host: str, port: int, now_s: float) -> None:
        """DNS says that there is no such name."""
        if self.of(host, port).found:
            self.note(host, port, (), now_s)

    def of(self, host: str, port: int) -> Answer:
        """The last one."""
        name = self._names.get((host, port))
        return name.answer if name is not None else _NOBODY_KNOWS

    def _name(self, host: str, port: int, now_s: float) -> _Name:
        if now_s >= self._look_s:
            self._look_s = now_s + TELL_AGAIN_S
            old_s = now_s - LASTS_S
            self._names = {key: one for key, one in self._names.items() if one.lasting or one.answer.at_s > old_s}
        return self._names.setdefault((host, port), _Name())


def _told(key: tuple[str, int], name: _Name) -> Told:
    found = [[*info[:4], [*info[4]]] for info in name.answer.found]
    return {"host": key[0], "port": key[1], "found": found, "at_s": name.answer.at_s, "lasting": name.lasting}
