"""Standard input, output and error that the parent has closed."""

import os
import sys


def open_standard_streams() -> None:
    """Give the null device the numbers 0, 1 and 2 where they are free.

    Else the next socket or file gets such a number, and what is printed or logged is written into it.
    """
    for number, mode in enumerate(("r", "w", "w")):
        if _is_closed(number):
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest free number: this one
            name = ("stdin", "stdout", "stderr")[number]
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def _is_closed(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return True
    return False
