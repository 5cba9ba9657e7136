"""How many random inputs a test tries."""

from hypothesis import settings

USUAL = 100
BRIEF = 20
"""With `--hypothesis-profile=brief`: for a second run, which is about something else than what random inputs find."""


def as_many(count: int) -> int:
    """`count`, or in a brief run the same share of it as of all others."""
    return count * settings().max_examples // USUAL
