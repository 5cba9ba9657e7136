"""When a webhook that could not be delivered is tried again, and when that ends.

Waits are 1, 2, 4, 8 s and so on, as long as the next try falls within `give_up_us` of when the webhook came; after that
it is a dead letter. A receiver may ask for a longer wait (Retry-After) and, with 410, never to be asked again.
"""

from enum import Enum
from typing import NamedTuple

from gateway.core.units import SECOND_US

FIRST_WAIT_US = SECOND_US
MAX_ASKED_US = 3_600_000_000
"""The longest wait that a receiver may ask for."""
GONE = 410
_NOT_HERE = frozenset((401, 403, 404, 405, 408, 429, GONE))
"""Of the statuses that blame the request, those that any webhook would get there."""


class Step(Enum):
    """What becomes of a webhook after a try."""

    DONE = "done"
    RETRY = "retry"
    DEAD = "dead"


class Tried(NamedTuple):
    """How a try ended.

    status    of the answer, 0 = there was none
    error     why there was none, as one word, of TLS with what is wrong behind it; "" = there was
    asked_us  Retry-After, 0 = nothing was asked
    took_us   from the first byte to the answer's head
    """

    status: int = 0
    error: str = ""
    asked_us: int = 0
    took_us: int = 0

    @property
    def good(self) -> bool:
        """Whether the receiver has accepted the webhook."""
        return 200 <= self.status < 300

    @property
    def blames_receiver(self) -> bool:
        """Whether it says something about the receiver, not about this one webhook."""
        return self.status in _NOT_HERE if 400 <= self.status < 500 else not self.good

    def in_words(self) -> str:
        """The outcome as `error` or status, for people."""
        return self.error or f"status {self.status}"


def wait_us(tries: int) -> int:
    """How long to wait after so many tries."""
    return FIRST_WAIT_US << min(tries - 1, 40)


def next_step(tried: Tried, tries: int, age_us: int, give_up_us: int) -> tuple[Step, int]:
    """What to do, and for RETRY after which wait.

    tries   including this one
    age_us  since it was first to be delivered
    """
    if tried.good:
        return Step.DONE, 0
    wait = max(wait_us(tries), min(tried.asked_us, MAX_ASKED_US))
    if tried.status == GONE or age_us + wait > give_up_us:
        return Step.DEAD, 0
    return Step.RETRY, wait
