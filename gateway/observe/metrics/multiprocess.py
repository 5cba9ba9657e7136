"""Metrics of several workers added up: each writes a file of its own, and whichever is scraped adds up the files.

A worker that dies leaves its counts to a file of the dead, so that the files are as many as the living. The lock keeps
scrapes from seeing counts twice, or not at all, while that happens. A scrape that does not find all files is none.
"""

import fcntl
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import orjson
from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import MmapedDict, _read_all_values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from gateway.observe.metrics.counted import KINDS, content, hold, is_listed, let_go, listed, write_list
from gateway.observe.metrics.files import UNREADABLE, MetricsFile, is_own_folder
from gateway.own_files import open_own

LOCK = "lock"
PATIENCE_S = 0.5
"""How long the supervisor waits for those who read: a worker that was stopped in the middle of it may never end."""


_left: set[int] = set()
"""Of the dead, whose counts are still where they left them."""
_dead: dict[str, MetricsFile] = {}
"""Of the dead, by path: open, so that their counts are still known should somebody remove the files."""


class NotThere(Exception):
    """Workers' files, or their directory, were removed. They will be put back, if that can be done."""


class AllWorkers:
    """A collector of prometheus_client over all files of PROMETHEUS_MULTIPROC_DIR."""

    def describe(self) -> Iterable[Metric]:
        """Nothing is known beforehand; without this, registering would read the files."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Every metric, added up. Raises NotThere: a part of it would look like counters that began anew."""
        if not is_own_folder(_directory()):
            raise NotThere
        try:
            yield from self._collect(_directory())
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            raise NotThere from None

    def _collect(self, directory: Path) -> list[Metric]:
        with _locked(directory, fcntl.LOCK_SH):
            there = [*directory.glob("*.db")]
            if listed(directory) - {path.name for path in there}:
                raise NotThere
            begun = [path for path in there if _begun(path)]
            gauges = [str(path) for path in begun if not path.name.startswith(KINDS)]
            metrics = [*MultiProcessCollector.merge(gauges)]  # type: ignore[no-untyped-call]
            counts = {type_: _summed(path for path in begun if path.name.startswith(type_)) for type_ in KINDS}
        for type_, sums in counts.items():
            metrics += MultiProcessCollector._accumulate_metrics(_metrics(type_, sums), accumulate=True)  # type: ignore[no-untyped-call]
        return metrics


def _begun(path: Path) -> bool:
    """Whether there is anything in it: workers make their files empty, and gauges of the dead go at any time."""
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False


def _summed(files: Iterable[Path]) -> dict[str, float]:
    """Values of all files by their key, before anything is made of the keys: that is most of the work."""
    sums: dict[str, float] = {}
    for file in files:
        for key, value, _, _ in MmapedDict.read_all_values_from_file(str(file)):  # type: ignore[no-untyped-call]
            sums[key] = sums.get(key, 0.0) + value
    return sums


def _metrics(type_: str, sums: Mapping[str, float]) -> dict[str, Metric]:
    """As `MultiProcessCollector.merge` has them before it adds up buckets."""
    metrics: dict[str, Metric] = {}
    for key, value in sums.items():
        name, sample, labels, meaning = orjson.loads(key)
        metric = metrics.get(name)
        if metric is None:
            metric = metrics[name] = Metric(name, meaning, type_)
        metric.add_sample(sample, tuple(sorted(labels.items())), value)  # type: ignore[arg-type]
    return metrics


def worker_died(pid: int) -> None:
    """A worker has died: its counters stay in the sums, its gauges do not. Never raises, never waits long."""
    _left.add(pid)
    if is_own_folder(_directory()):
        with suppress(OSError):
            _see_to_files(PATIENCE_S)


def see_to_files() -> None:
    """The supervisor does, now and then: of what it has not seen nobody knows that it is missing. Never raises."""
    if is_own_folder(_directory()):
        hold(_directory())
        if _left or not is_listed(_directory()):
            with suppress(OSError):
                _see_to_files()


def _see_to_files(patience_s: float = 0.0) -> None:
    directory = _directory()
    for pid in _left:
        mark_process_dead(pid)  # type: ignore[no-untyped-call]
    with _locked(directory, fcntl.LOCK_EX | fcntl.LOCK_NB, patience_s):  # else those of the dead go on being read
        for pid in _left:
            for type_ in KINDS:
                left = directory / f"{type_}_{pid}.db"
                with suppress(*UNREADABLE):  # what cannot be read is lost
                    _add(left, directory / f"{type_}_dead.db")
                left.unlink(missing_ok=True)
                let_go(left.name)
        _left.clear()
        hold(directory)
        write_list(directory)


def _add(left: Path, dead: Path) -> None:
    if not (written := content(left)):
        return
    counts = [*_read_all_values(written)]  # type: ignore[no-untyped-call]
    left.unlink(missing_ok=True)  # first: where the disk is full, that makes room for its counts
    sums = _dead.get(str(dead)) or _dead.setdefault(str(dead), MetricsFile(str(dead)))
    for key, count, _, _ in counts:
        sums.write_value(key, sums.read_value(key)[0] + count, 0.0)


@contextmanager
def _locked(directory: Path, how: int, patience_s: float = 0.0) -> Iterator[None]:
    """Raises BlockingIOError when LOCK_NB is asked for and somebody else keeps the lock for longer than that."""
    by = time.monotonic() + patience_s
    with os.fdopen(open_own(directory / LOCK, os.O_CREAT | os.O_RDWR)) as lock:
        while True:
            try:
                fcntl.flock(lock, how)
                break
            except BlockingIOError:
                if time.monotonic() > by:
                    raise
                time.sleep(0.005)
        yield


def _directory() -> Path:
    return Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
