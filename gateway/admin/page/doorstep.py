"""Nobody tries tokens by the thousand: who has shown wrong ones waits before the next is looked at.

Counted by address (IPv6: by its /64, which one customer usually has), a bounded number of them: who has thousands of
addresses tries as often as it has addresses. Only the form is watched: programs with an old token ask all day, from
hosts that operators sign in from, too.
"""

import math
from collections import OrderedDict
from ipaddress import IPv6Address, ip_address, ip_network

AT_ONCE = 5
EVERY_S = 10.0
MOST_ADDRESSES = 1024


class Doorstep:
    """How long an address has to wait for its next try at this worker.

    Each has a bucket of `AT_ONCE` wrong tokens, of which one comes back every `EVERY_S` seconds.
    """

    def __init__(self) -> None:
        self._empty_s: OrderedDict[str, float] = OrderedDict()  # when all of an address's wrong ones are forgotten

    def wait_s(self, address: str | None, now_s: float) -> int:
        """Whole seconds until this address may try; 0 = now. `now_s` is monotonic."""
        over_s = self._empty_s.get(_whose(address), now_s) - now_s - (AT_ONCE - 1) * EVERY_S
        return max(0, math.ceil(over_s))

    def wrong(self, address: str | None, now_s: float) -> None:
        """Count a wrong token that this address has shown at `now_s` (monotonic)."""
        whose = _whose(address)
        self._empty_s[whose] = max(self._empty_s.get(whose, now_s), now_s) + EVERY_S
        self._empty_s.move_to_end(whose)
        if len(self._empty_s) > MOST_ADDRESSES:
            self._empty_s.popitem(last=False)


def _whose(address: str | None) -> str:
    try:
        known = ip_address((address or "").partition("%")[0])
    except ValueError:
        return ""
    if isinstance(known, IPv6Address):
        return str(known.ipv4_mapped or ip_network((known, 64), strict=False))
    return str(known)
