"""`gateway replay`: yesterday's calls through tomorrow's policy."""

import heapq
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.command.failing import FAILED, OK, fail
from gateway.cli.command.options import Config, EnvFile, Json, Policies, path

if TYPE_CHECKING:
    from gateway.core.policy import PolicySet
    from gateway.replay.crew import Understand
    from gateway.replay.play import Row

MOST_FILES = 64


def replay(
    logs: Annotated[
        list[Path], typer.Argument(metavar="LOG", parser=path, help="Access logs, plain or gzip; - = stdin.")
    ],
    policies: Policies = None,
    config: Config = None,
    env_file: EnvFile = None,
    top: Annotated[int, typer.Option(min=0, metavar="N", help="How many tenants to list.")] = 10,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 1 when calls would be newly refused.")
    ] = False,
    readers: Annotated[
        int,
        typer.Option(
            min=-1, max=64, metavar="N", show_default=False, help="Processes that read logs. Default: by CPUs; 0: none."
        ),
    ] = -1,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress bar.")] = False,
    as_json: Json = False,
) -> None:
    """Play recorded calls through a policy, in virtual time, and tell what would change, and for whom.

    Callers are assumed to call as they did, breakers and pauses to hold back what they held back.
    """
    from gateway.cli.files.loading import read_chosen
    from gateway.replay.crew import ReaderDied, crew, usual_readers, without_collector
    from gateway.replay.play import Rerun
    from gateway.replay.tally import Report

    if len(logs) > MOST_FILES:
        raise typer.BadParameter(f"at most {MOST_FILES} logs at once")
    if logs.count(Path("-")) > 1:
        raise typer.BadParameter("standard input (-) can be read once")
    loaded = read_chosen(config, env_file, policies)[1]
    rerun, report, reading = Rerun(loaded), Report(), _Reading()
    try:
        with ExitStack() as stack:
            stack.enter_context(without_collector())
            understand = stack.enter_context(crew(loaded, usual_readers() if readers < 0 else readers))
            reading.tell = stack.enter_context(_progress(logs, wanted=not quiet and sys.stderr.isatty()))
            report.take(rerun.play(_merged([_rows(path, understand, reading) for path in logs])))
    except ReaderDied as died:
        fail(FAILED, str(died))
    found = report.as_dict(loaded, top, rerun.played)
    document = {**found, **reading.as_dict(), "late": rerun.played.late, "notes": [*_notes(loaded, reading)]}
    _print(document, as_json=as_json)
    for problem in reading.problems:
        typer.echo(f"gateway: {problem}", err=True)
    if reading.problems:
        raise typer.Exit(FAILED)
    raise typer.Exit(FAILED if exit_code and report.total.newly_refused else OK)


@dataclass(slots=True)
class _Reading:
    """What is not a call that could be played. tell: hears of (log, bytes read)."""

    unreadable: int = 0
    other: int = 0
    never_asked: int = 0
    missing: int = 0
    problems: list[str] = field(default_factory=list)
    tell: Any = None

    def as_dict(self) -> dict[str, int]:
        return {
            "unreadable": self.unreadable,
            "other_lines": self.other,
            "never_asked": self.never_asked,
            "missing": self.missing,
        }


def _rows(path: Path, understand: "Understand", reading: _Reading) -> "Iterator[Row]":
    from gateway.replay.play import in_order

    def counted() -> Iterator[Any]:
        understood, unreadable = 0, 0
        try:
            for rows in understand(_pieces(path, reading)):
                understood += len(rows.kind) + rows.other + rows.never_asked
                unreadable += rows.unreadable
                reading.unreadable += rows.unreadable
                reading.other += rows.other
                reading.never_asked += rows.never_asked
                reading.missing += rows.missing
                yield rows
        except OSError as error:
            fail(FAILED, f"{path}: cannot read: {error.strerror}")
        if unreadable and not understood:
            reading.problems.append(f"{path}: nothing in it is a line of the gateway's log")

    return in_order(counted())


def _pieces(path: Path, reading: _Reading) -> Iterator[Any]:
    from gateway.replay.lines import Damaged, pieces

    try:
        for piece in pieces(path):
            reading.tell(path, piece.read)
            yield piece
    except Damaged as damaged:
        reading.problems.append(str(damaged))


def _merged(logs: "Sequence[Iterator[Row]]") -> "Iterator[Row]":
    """Several logs (of several gateways, or rotated) as one, by time."""
    return logs[0] if len(logs) == 1 else heapq.merge(*logs, key=lambda row: row[0])


@contextmanager
def _progress(logs: Sequence[Path], *, wanted: bool) -> Iterator[Any]:
    """A bar on a terminal's stderr; by bytes, as nobody knows the number of lines."""
    if not wanted:
        yield lambda _path, _read: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        tasks = {path: progress.add_task(path.name[-30:], total=_size(path)) for path in logs}
        yield lambda path, read: progress.update(tasks[path], completed=read)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size or None
    except OSError:
        return None


def _notes(policies: "PolicySet", reading: _Reading) -> Iterator[str]:
    """What the log does not tell: calls, and what the candidate counts by."""
    from gateway.core.preview.recorded import untold

    if reading.missing:
        gone = f"{reading.missing:,} lines are missing from the log (sampled out, or dropped)"
        yield f"{gone}: limits refuse more than is told here"
    used = {name for limit in policies.limits.values() for name in limit.key}
    for name in sorted(used & untold(policies)):
        yield f"the log does not tell the key part {name}: what counts by it is left out"


def _print(document: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(document, indent=2))
        return
    from gateway.cli.policies.replayed import lines

    for line in lines(document):
        typer.echo(line)
