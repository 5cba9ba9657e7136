"""Whether the host has the threads that a worker needs. Where it has not, libuv ends the process without a word."""

import threading

from gateway.supervisor.failure import StartFailed

NEEDED = 8  # libuv's four, those that write the log and watch over the worker, and some to read files and ask for names


def check_threads() -> None:
    """Raises StartFailed."""
    over = threading.Event()
    started: list[threading.Thread] = []
    try:
        for _ in range(NEEDED):
            one = threading.Thread(target=over.wait, daemon=True)
            one.start()
            started.append(one)
    except RuntimeError:
        limits = "raise the limit of processes (`ulimit -u`, a container's limit of pids) or of memory"
        raise StartFailed(f"the host has no {NEEDED} threads for a worker: {limits}") from None
    finally:
        over.set()
        for one in started:
            one.join()
