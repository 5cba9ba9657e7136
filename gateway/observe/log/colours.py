"""Whether lines for people have colours: where a terminal reads them, unless somebody said no (https://no-color.org)."""

import os
import re
from collections.abc import Callable

from gateway.observe.log.writer import is_terminal

_COLOUR = re.compile(rb"\x1b\[[0-9;]*m")
_WITHOUT = ("dumb", "unknown")

Made = Callable[..., bytes]


def wants_colours(destination: str) -> bool:
    """Whether whoever reads there sees colours and wants them."""
    able = os.environ.get("TERM", "").lower() not in _WITHOUT
    return able and not os.environ.get("NO_COLOR") and is_terminal(destination)


def fit_for(destination: str, make: Made) -> Made:
    """`make`, which makes coloured lines, for this reader. In such lines nothing of callers can act on a terminal, so
    what looks like a colour is one."""
    return make if wants_colours(destination) else lambda *given: _COLOUR.sub(b"", make(*given))
