"""From an upstream's answer to what everybody is to heed: leave a connection alone, or send so many calls more."""

from typing import NamedTuple

from gateway.core.classes import ErrorClass
from gateway.core.http.framing import Fields
from gateway.core.http.signals import TOO_MANY, read
from gateway.core.upstream import Learning


class Heed(NamedTuple):
    """What an answer asks for: `left` calls more within `for_us`; none left = a pause. `for_us` 0 = nothing."""

    for_us: int = 0
    left: int = 0


NOTHING = Heed()


def heeded(learning: Learning, status: int, error_class: ErrorClass | None, fields: Fields, now_us: int) -> Heed:
    """What to tell everybody. It never lasts longer than the policy allows.

    A 429 pauses, and so do answers of a class that says so, for as long as they ask. Any other answer does when it says
    that nothing is left, until more is there; and how much is left is heeded if the policy makes a limit of it.

    now_us  epoch microseconds
    """
    asked = read(status, fields, now_us, learning.honor)
    if status == TOO_MANY or (error_class is not None and bool(error_class.pause)) or asked.remaining == 0:
        return Heed(min(asked.wait_us, learning.max_us))
    if learning.as_limit and asked.remaining and asked.reset_us:
        return Heed(min(asked.reset_us, learning.max_us), asked.remaining)
    return NOTHING
