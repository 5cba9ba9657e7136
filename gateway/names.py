"""Where names of upstreams and of the store have led last: for who begins while DNS is away, a worker or what a reload
has changed.

Workers tell each other, and the process that forks them, so that those who follow know it too.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

AddrInfo = tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int]]
"""As `socket.getaddrinfo` has it."""

Told = Mapping[str, Any]
"""What is told of one name, as JSON has it: `host`, `port`, `found`."""


class KnownNames:
    """The last answers of DNS that anybody here has had. They may be old: who can ask asks first."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, int], Sequence[AddrInfo]] = {}
        self._untold: dict[tuple[str, int], Told] = {}
        self._tell: Callable[[Told], object] | None = None

    def share(self, tell: Callable[[Told], object]) -> None:
        """Tell of what is different from what was known: of what has been found by now, and from then on."""
        self._tell = tell
        untold, self._untold = self._untold, {}
        for told in untold.values():
            tell(told)

    def hear(self, told: Told) -> None:
        """Somebody else has asked."""
        found: list[AddrInfo] = [(*kind, tuple(address)) for *kind, address in told["found"]]
        self._found[told["host"], told["port"]] = found

    def note(self, host: str, port: int, found: Sequence[AddrInfo]) -> None:
        """DNS has answered. Addresses, which need no answer, are not kept."""
        known = {info[4] for info in self.of(host, port)}
        addresses = {info[4] for info in found}
        if addresses == known or host in (address[0] for address in addresses):
            return
        self._found[host, port] = found
        told = {"host": host, "port": port, "found": [[*info[:4], [*info[4]]] for info in found]}
        if self._tell is not None:
            self._tell(told)
        else:
            self._untold[host, port] = told

    def of(self, host: str, port: int) -> Sequence[AddrInfo]:
        """Where it has led last; nothing if nobody knows."""
        return self._found.get((host, port), ())
