"""Named tuples for what is made anew for every limit of every call, or for thousands of callers at once."""

from collections.abc import Callable
from typing import Any

made: Callable[..., Any] = tuple.__new__
"""`made(Verdict, fields)` is `Verdict(*fields)`, but for the `__new__` in Python, which calls just this."""
