"""From an upstream's answer to what everybody is to heed: leave a connection alone, or send so many calls more.

Some say "too many calls" with another status than 429 and a time to wait: GitHub and others 403, many 503. Some say it
in the body, with a status that means something else as well: Google 403, what speaks GraphQL 200.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from gateway.core.classes import ErrorClass
from gateway.core.document import at, decoded, loaded
from gateway.core.http.framing import Fields
from gateway.core.http.signals import TOO_MANY, read
from gateway.core.upstream import Learning

LOOKED_AT_BYTES = 16 * 1024
"""No body that is larger is looked at: what refuses a call is short."""

_plain_part = re.compile("[0-9A-Za-z]+").search  # which no JSON escapes


class Heed(NamedTuple):
    """What an answer asks for: `left` calls more within `for_us`; none left = a pause. `for_us` 0 = nothing."""

    for_us: int = 0
    left: int = 0


NOTHING = Heed()


def stands_for(learning: Learning | None, status: int, fields: Fields, now_us: int) -> int:
    """The status that an answer is judged by: 429 if it asks to wait with another one and the policy expects that."""
    if learning is None or status not in learning.also_on:
        return status
    asked = read(status, fields, now_us, learning.honor, learning.also_from)
    return TOO_MANY if asked.wait_us or asked.remaining == 0 else status


def may_say(learning: Learning, status: int, content_type: str) -> bool:
    """Whether the body of such an answer is looked at. Who answers a call well says in its head that it is JSON."""
    return status in learning.worded and (status >= 400 or "json" in content_type.lower())


def says_too_many(learning: Learning, status: int, coding: str, body: bytes | bytearray) -> bool:
    """Whether the whole body of an answer (in that content coding) says in its JSON what the policy takes for a 429."""
    text = decoded(body, coding, LOOKED_AT_BYTES)
    if text is None:
        return False
    wordings = [one for one in learning.also_when if status in one.statuses and any(_names(text, one.values))]
    document = loaded(text) if wordings else None
    return any(_is_one_of(at(document, one.pointer), one.values) for one in wordings)


def _names(text: bytes | bytearray, values: tuple[str | int, ...]) -> Iterator[bool]:
    """Whether a value may stand in there at all, each: most answers need not be parsed to see that they say nothing."""
    for value in values:
        part = _plain_part(str(value))
        yield part is None or part[0].encode() in text


def _is_one_of(value: object, values: tuple[str | int, ...]) -> bool:
    """Texts are texts, numbers are numbers, and truth values neither."""
    return type(value) in (str, int) and value in values


def heeded(learning: Learning, status: int, error_class: ErrorClass | None, fields: Fields, now_us: int) -> Heed:
    """What to tell everybody. It never lasts longer than the policy allows.

    A 429 pauses, and so do answers of a class that says so, for as long as they ask; a 429 that does not say how long,
    as long as the policy says. Any other answer does when it says that nothing is left, until more is there; and how
    much is left is heeded if the policy makes a limit of it.

    status  as `stands_for` has it
    now_us  epoch microseconds
    """
    asked = read(status, fields, now_us, learning.honor, learning.also_from)
    if status == TOO_MANY or (error_class is not None and bool(error_class.pause)) or asked.remaining == 0:
        otherwise_us = learning.otherwise_us if status == TOO_MANY else 0
        return Heed(min(asked.wait_us or otherwise_us, learning.max_us))
    if learning.as_limit and asked.remaining and asked.reset_us:
        return Heed(min(asked.reset_us, learning.max_us), asked.remaining)
    return NOTHING
