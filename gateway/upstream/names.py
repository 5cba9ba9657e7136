"""Where names of upstreams have led last: for who begins while DNS is away, a worker or what a reload has changed.

Workers tell each other, and the process that forks them, so that those who follow know it too.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

AddrInfo = tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int]]
"""As `socket.getaddrinfo` has it."""

Told = Mapping[str, Any]
"""What is told of one name, as JSON has it: `host`, `port`, `found`."""


class KnownNames:
    """The last answers of DNS that anybody here has had. They may be old: who can ask asks first."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, int], Sequence[AddrInfo]] = {}
        self._tell: Callable[[Told], object] = lambda _: None

    def share(self, known: Iterable[Told], tell: Callable[[Told], object]) -> None:
        """Begin with what is known, and tell of what is different from then on."""
        for told in known:
            self.hear(told)
        self._tell = tell

    def hear(self, told: Told) -> None:
        """Somebody else has asked."""
        found: list[AddrInfo] = [(*kind, tuple(address)) for *kind, address in told["found"]]
        self._found[told["host"], told["port"]] = found

    def note(self, host: str, port: int, found: Sequence[AddrInfo]) -> None:
        """DNS has answered. Addresses, which need no answer, are not kept."""
        known = {info[4] for info in self.of(host, port)}
        addresses = {info[4] for info in found}
        if addresses != known and host not in (address[0] for address in addresses):
            self._found[host, port] = found
            self._tell({"host": host, "port": port, "found": [[*info[:4], [*info[4]]] for info in found]})

    def of(self, host: str, port: int) -> Sequence[AddrInfo]:
        """Where it has led last; nothing if nobody knows."""
        return self._found.get((host, port), ())
