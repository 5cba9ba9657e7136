"""Files are what sockets are made of: how many callers' sockets a worker has files for.

A worker that takes more than that cannot connect to upstreams. And on uvloop it may come to spin: libuv keeps one
file in reserve, to accept and close at once those whom it has no file for. When another thread opens a file in that
moment, the reserve is gone until files are free again, and till then each turn of the loop fails to accept.
"""

import resource

from gateway.settings import Bounds

SPARE = 1_000  # the store, logs, policies that are read, idle sockets to upstreams


def allow_open_files(bounds: Bounds) -> None:
    """Raise the soft limit of open files towards what these bounds need; never lower it, never fail over it."""
    wanted = bounds.sockets + min(bounds.sockets, bounds.calls_in_flight) + SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    goal = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft == resource.RLIM_INFINITY or soft >= goal:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (goal, hard))
    except (OSError, ValueError):
        return


def room_for(bounds: Bounds) -> int:
    """How many callers' sockets at a time: `bounds.sockets`, or those that may be open here with one to an upstream for
    each call in flight, and some files to spare; at least one."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return bounds.sockets
    files -= min(SPARE, files // 4)
    return max(1, min(bounds.sockets, max(files // 2, files - bounds.calls_in_flight)))
