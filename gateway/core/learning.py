"""From an upstream's answer to a pause: how long to leave a connection alone, for everybody."""

from gateway.core.classes import ErrorClass
from gateway.core.framing import Fields
from gateway.core.policy import Learning
from gateway.core.signals import TOO_MANY, read


def pause_us(learning: Learning, status: int, error_class: ErrorClass | None, fields: Fields, now_us: int) -> int:
    """How long; 0 = not at all. Never more than the policy allows.

    A 429 pauses, and so do answers of a class that says so, for as long as they ask. Any other answer does when it says
    that nothing is left, until more is there.

    now_us  epoch microseconds
    """
    asked = read(status, fields, now_us, learning.honor)
    pauses = status == TOO_MANY or (error_class is not None and bool(error_class.pause)) or asked.remaining == 0
    return min(asked.wait_us, learning.max_us) if pauses else 0
