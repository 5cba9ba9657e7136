"""Errors that nobody hears of: of background work, of callbacks, of tasks that nobody waits for."""

import asyncio
from collections.abc import Mapping
from typing import Any

from gateway.observe.log.logger import event


def tell_unheard(loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    """The handler of a worker's event loop (`set_exception_handler`). The loop's own would show what was handed to a
    callback, and what an exception says."""
    error = context.get("exception")
    if error is None or (isinstance(error, OSError) and "work" not in context):  # of sockets: no error of ours
        loop.default_exception_handler(dict(context))
        return
    about = {"work": context.get("work"), "exc_info": error}
    event("background.crashed", "Worker met an internal error beside its calls", "error", **about)
