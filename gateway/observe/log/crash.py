"""Tracebacks for logs: which error, and where in the code, without what a caller may have sent.

Messages of exceptions often repeat their input: `KeyError: 's3cret'`, `invalid literal for int(): 's3cret'`. What
stands between quotes in them is left out, unless the interpreter itself wrote the message, about names of the program.
"""

import re
import traceback
from types import TracebackType

_QUOTED = re.compile(r"""'[^']*(?:'|\Z)|"[^"]*(?:"|\Z)""")
_OF_THE_PROGRAM = (AttributeError, ImportError, NameError, OSError, TypeError)
"""Their quotes hold names of attributes, modules, variables, types and files."""
_MOST_CAUSES = 10

ExcInfo = tuple[type[BaseException] | None, BaseException | None, TracebackType | None]


def traceback_text(exc_info: ExcInfo) -> str:
    """The error with its causes, the first cause first. Never raises."""
    error = exc_info[1]
    parts: list[str] = []
    while error is not None and len(parts) < _MOST_CAUSES:
        frames = "".join(traceback.format_tb(error.__traceback__))
        parts.append(f"Traceback (most recent call last):\n{frames}{_described(error)}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n\nwhich led to:\n\n".join(reversed(parts))


def _described(error: BaseException) -> str:
    name = type(error).__qualname__
    try:
        message = str(error)
    except Exception:  # an exception that cannot say what it is must not hide where it was
        return name
    if not isinstance(error, _OF_THE_PROGRAM):
        message = _QUOTED.sub("'…'", message)
    return f"{name}: {message}" if message else name
