"""What workers have in the runtime directory: files that are named after their processes, and that only these can write
again."""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from gateway.supervisor.runtime_dir import RuntimeDir
from gateway.supervisor.stack import forget_stack

METRICS = "metrics"

_KEPT = "jwks-"
_PID = re.compile("(?<=[-_])[0-9]+(?=([.]db)?$)")


class WorkerFiles:
    """Sees what somebody has removed of them since the last look, and has it put back.

    pids  of the workers that live: the files of others go rightly
    ask   has every worker put back what is missing of its own
    """

    def __init__(self, directory: RuntimeDir, pids: Callable[[], Iterable[int]], ask: Callable[[], None]) -> None:
        self._places = directory.path, directory.path / METRICS
        self._pids = pids
        self._ask = ask
        self._seen: set[str] = set()
        directory.holds(self._look)
        directory.holds(_put_back_ours)
        directory.on_removed(ask)

    def _look(self) -> Sequence[str]:
        """A key set is asked for, but not told of: workers take away what nobody needs any more."""
        names = {path.name for place in self._places for path in place.iterdir() if not path.name.startswith(".")}
        gone, self._seen = self._seen - names, names
        if any(name.startswith(_KEPT) for name in gone):
            self._ask()
        living = {*map(str, self._pids())}
        return sorted(name for name in gone if (pid := _PID.search(name)) and pid[0] in living)


def forget_worker(pid: int, directory: Path | None) -> None:
    """A worker has ended: nothing of it is left but its counts."""
    from gateway.observe.metrics.multiprocess import worker_died

    worker_died(pid)
    if directory is not None:
        forget_stack(directory, pid)


def _put_back_ours() -> Sequence[str]:
    """The counts of the first process, and those of the dead."""
    from gateway.observe.metrics.files import put_back
    from gateway.observe.metrics.multiprocess import see_to_files

    removed = put_back()
    see_to_files()
    return removed
