"""Gateways whose runtime directory somebody removes, or what is in it: nothing that was counted is lost, and nobody has to do
anything."""

import errno
import os
import pwd
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.observe.metrics.counted import listed
from gateway.supervisor.embedding import LOOK_EVERY_S
from tests.cli.conftest import Process, Start, server_pid
from tests.cli.edited import save
from tests.fakes.redis_server import RedisServer
from tests.fakes.waiting import pause, until

TENANT = {"X-Tenant-Id": "acme"}
HURRIED = {"GATEWAY_DRAIN__DELAY": "0s", "GATEWAY_WATCHDOG": "2s"}
LIMIT = 500


def remove(directory: Path) -> None:
    """At once: piece by piece some of it would be there again before all is gone."""
    shutil.rmtree(directory.rename(directory.with_name("removed")))


def unlink_all(directory: Path, chosen: Callable[[Path], bool]) -> None:
    for path in [*directory.rglob("*")]:
        if chosen(path):
            path.unlink()


REMOVALS: dict[str, Callable[[Path], None]] = {
    "all": remove,
    "files": lambda directory: unlink_all(directory, Path.is_file),
    "sockets": lambda directory: unlink_all(directory, Path.is_socket),
}


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    folder = tmp_path / "policies"
    folder.mkdir()
    save(folder, LIMIT)
    return folder


def used(process: Process) -> int:
    """How many calls the store has counted, with this one."""
    return LIMIT - left(process)


def left(process: Process) -> int:
    return int(process.get("/", TENANT).headers["X-RateLimit-Remaining"])


def counted(process: Process) -> float:
    """How many calls a scrape tells of. AssertionError: it tells of none."""
    answer = process.get("/metrics", admin=True)
    assert answer.status == 200
    lines = answer.body.decode().splitlines()  # type: ignore[attr-defined]
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("gateway_requests_total"))


def restarts(process: Process) -> list[str]:
    body = process.get("/metrics", admin=True).body  # type: ignore[attr-defined]
    return [line for line in body.decode().splitlines() if line.startswith("gateway_worker_restarts_total")]


def serves_on(process: Process, policies: Path, before: int) -> None:
    """As if nothing had happened: so many calls were made before."""
    for number in range(before + 1, before + 9):
        assert used(process) == number
    until(lambda: counted(process) == before + 8, "all calls in a scrape", not_yet=(AssertionError,))
    save(policies, 2 * LIMIT)
    until(lambda: left(process) > LIMIT, "the reload")
    assert not process.events("policy.failed")
    assert not process.events("admin.failed")
    assert not process.events("store.hung")
    assert not process.events("store.degraded")


def ends(process: Process, runtime: Path) -> None:
    process.popen.send_signal(signal.SIGTERM)
    process.ends_well()
    assert [*runtime.iterdir()] == []


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("what", REMOVALS)
async def test_it_comes_back_with_all_that_was_counted(
    start_gateway: Start, policies: Path, runtime: Path, workers: int, what: str
) -> None:
    process = start_gateway("-p", str(policies), "--workers", str(workers), env=HURRIED)
    process.wait_for("gateway.ready", workers)
    assert [used(process) for _ in range(8)] == [*range(1, 9)]
    until(lambda: counted(process) == 8, "all calls in a scrape", not_yet=(AssertionError,))
    [directory] = runtime.iterdir()
    REMOVALS[what](directory)
    process.wait_for("runtime.gone")
    await pause(3, "what is taken for something that hangs is ended after two seconds")
    serves_on(process, policies, 8)
    gone = process.events("runtime.gone")
    assert {(one["level"], one["directory"]) for one in gone} == {("warning", str(directory))}
    removed = {name for one in gone for name in one["removed"]}
    assert (directory.name in removed) == (what == "all")
    assert ("lock" in removed) == (what == "files")
    assert "store.sock" in removed or what == "files"
    assert len(gone) == 1 or what == "files", "which go one by one"
    ends(process, runtime)


async def test_workers_that_begin_later_count_with_the_others(
    start_gateway: Start, policies: Path, runtime: Path
) -> None:
    """The counts of one that has died come back too, and how often that happened."""
    process = start_gateway("-p", str(policies), "--workers", "2", env=HURRIED)
    process.wait_for("gateway.ready", 2)
    assert [used(process) for _ in range(8)] == [*range(1, 9)]
    until(lambda: counted(process) == 8, "all calls in a scrape", not_yet=(AssertionError,))
    os.kill(process.events("worker.started")[0]["pid"], signal.SIGKILL)
    process.wait_for("gateway.ready", 3)
    [directory] = runtime.iterdir()
    remove(directory)
    process.wait_for("runtime.gone")
    until(lambda: counted(process) == 8, "the dead one's calls too", not_yet=(AssertionError,))
    assert restarts(process) == ["gateway_worker_restarts_total 1.0"]
    os.kill(process.events("worker.started")[1]["pid"], signal.SIGKILL)
    process.wait_for("gateway.ready", 4)
    serves_on(process, policies, 8)
    ends(process, runtime)


@contextmanager
def pausing(process: Process) -> Iterator[None]:
    """Its supervisor sees and does nothing meanwhile."""
    os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process.pid, signal.SIGCONT)


def counting(start_gateway: Start, policies: Path, runtime: Path) -> tuple[Process, Path, dict[int, str]]:
    """Two workers that have counted eight calls, their runtime directory, and the file of each that the supervisor has
    seen, by process id."""
    process = start_gateway("-p", str(policies), "--workers", "2", env=HURRIED)
    process.wait_for("gateway.ready", 2)
    assert [used(process) for _ in range(8)] == [*range(1, 9)]
    until(lambda: counted(process) == 8, "all calls in a scrape", not_yet=(AssertionError,))
    [directory] = runtime.iterdir()
    files = {started["pid"]: f"counter_{started['pid']}.db" for started in process.events("worker.started")}
    until(lambda: {*files.values()} <= listed(directory / "metrics"), "the supervisor to see them")
    return process, directory, files


async def test_no_scrape_has_a_part_of_the_counts(start_gateway: Start, policies: Path, runtime: Path) -> None:
    """Whichever worker is asked."""
    process, directory, files = counting(start_gateway, policies, runtime)
    for name in files.values():
        with pausing(process):
            (directory / "metrics" / name).unlink()
            assert {process.get("/metrics", admin=True).status for _ in range(8)} == {503}
        until(lambda: counted(process) == 8, "all calls in a scrape", not_yet=(AssertionError,))
    ends(process, runtime)


async def test_who_dies_while_it_is_gone_leaves_its_counts(start_gateway: Start, policies: Path, runtime: Path) -> None:
    process, directory, files = counting(start_gateway, policies, runtime)
    with pausing(process):
        remove(directory)
        for pid in files:
            os.kill(pid, signal.SIGKILL)
    process.wait_for("gateway.ready", 4)
    until(lambda: counted(process) == 8, "the dead ones' calls too", not_yet=(AssertionError,))
    ends(process, runtime)


async def test_with_a_store_elsewhere_it_comes_back_too(
    start_gateway: Start, policies: Path, runtime: Path, redis_server: RedisServer
) -> None:
    process = start_gateway("-p", str(policies), "--workers", "2", "--store", redis_server.url, env=HURRIED)
    process.wait_for("gateway.ready", 2)
    [directory] = runtime.iterdir()
    remove(directory)
    process.wait_for("runtime.gone")
    serves_on(process, policies, 0)
    ends(process, runtime)


async def test_where_it_would_be_told_what_hangs_is_there_again(start_gateway: Start, runtime: Path) -> None:
    process = start_gateway("--workers", "2", env=HURRIED)
    process.wait_for("gateway.ready", 2)
    [directory] = runtime.iterdir()
    remove(directory)
    pids = {started["pid"] for started in process.events("worker.started")}
    names = {f"stack-{pid}" for pid in pids}
    until(lambda: names <= {path.name for path in directory.iterdir()}, "the files to come back")


@pytest.mark.parametrize("workers", [1, 2])
async def test_where_it_cannot_be_made_the_store_lives_on(
    start_gateway: Start, policies: Path, runtime: Path, workers: int
) -> None:
    """What it was in has gone too, and is another user's to make again."""
    place = runtime / "place"
    place.mkdir()
    env = {"RUNTIME_DIRECTORY": str(place), **HURRIED}
    process = start_gateway("-p", str(policies), "--workers", str(workers), env=env)
    process.wait_for("gateway.ready", workers)
    assert [used(process) for _ in range(8)] == [*range(1, 9)]
    until(lambda: counted(process) == 8, "all calls in a scrape", not_yet=(AssertionError,))
    shutil.rmtree(place)
    [gone] = process.wait_for("runtime.gone")
    assert (gone["level"], gone["reason"]) == ("error", "No such file or directory")
    assert process.get("/metrics", admin=True).status == (200 if workers == 1 else 503)
    await pause(3, "what is taken for something that hangs is ended after two seconds")
    assert [used(process) for _ in range(8)] == [*range(9, 17)]
    place.mkdir()
    process.wait_for("runtime.restored")
    serves_on(process, policies, 16)
    assert len(process.events("runtime.gone")) == 1
    ends(process, place)


def by_a_link(directory: Path, victim: Path) -> None:
    directory.symlink_to(victim)


def by_another_user(directory: Path, victim: Path) -> None:
    """With links under all the names that can be known."""
    if os.geteuid() != 0:
        pytest.skip("only root can make what is another user's")
    directory.mkdir()
    for name in ("metrics", "store.sock", "store.log"):
        (directory / name).symlink_to(victim / name)
    nobody = pwd.getpwnam("nobody").pw_uid
    for path in (*directory.iterdir(), directory):
        os.chown(path, nobody, -1, follow_symlinks=False)


@pytest.mark.parametrize("taken", [by_a_link, by_another_user])
async def test_where_somebody_takes_its_name_nothing_is_written_and_workers_begin(
    start_gateway: Start, policies: Path, runtime: Path, tmp_path: Path, taken: Callable[[Path, Path], None]
) -> None:
    victim = tmp_path / "victim"
    (victim / "metrics").mkdir(parents=True)
    (victim / "store.log").write_text("theirs")
    process = start_gateway("-p", str(policies), "--workers", "2", env=HURRIED)
    process.wait_for("gateway.ready", 2)
    assert used(process) == 1
    [directory] = runtime.iterdir()
    with pausing(process):
        remove(directory)
        taken(directory, victim)
    [gone] = process.wait_for("runtime.gone")
    link = os.strerror(errno.ENOTDIR)
    assert (gone["level"], gone["reason"]) == (
        "error",
        link if taken is by_a_link else "another user has taken its name",
    )
    for ready, started in enumerate(process.events("worker.started"), 3):
        os.kill(started["pid"], signal.SIGKILL)
        process.wait_for("gateway.ready", ready)
    assert process.get("/metrics", admin=True).status == 503
    save(policies, 2 * LIMIT)
    process.wait_for("policy.failed")
    os.kill(server_pid(process), signal.SIGKILL)
    await pause(2 * LOOK_EVERY_S, "somebody looks after the store once a second")
    assert not process.events("store.hung")
    assert (victim / "store.log").read_text() == "theirs"
    assert sorted(path.relative_to(victim).name for path in victim.rglob("*")) == ["metrics", "store.log"]
    directory.unlink() if directory.is_symlink() else shutil.rmtree(directory)
    process.wait_for("runtime.restored")
    process.wait_for("store.recovered")
    save(policies, 3 * LIMIT)
    until(lambda: left(process) > 2 * LIMIT, "the reload")
    until(lambda: counted(process) > 0, "a scrape", not_yet=(AssertionError,))
    ends(process, runtime)


async def test_what_somebody_has_put_in_its_place_ends_nobody(
    start_gateway: Start, policies: Path, runtime: Path
) -> None:
    process = start_gateway("-p", str(policies), "--workers", "2", env=HURRIED)
    process.wait_for("gateway.ready", 2)
    assert used(process) == 1
    [directory] = runtime.iterdir()
    remove(directory)
    directory.touch()
    process.wait_for("runtime.gone")
    os.kill(process.events("worker.started")[0]["pid"], signal.SIGKILL)
    process.wait_for("gateway.ready", 3)
    assert process.get("/metrics", admin=True).status == 503
    assert process.events("store.degraded"), "who has begun since then does not reach it"
    directory.unlink()
    process.wait_for("runtime.restored")
    process.wait_for("store.recovered")
    assert used(process) == 2
    ends(process, runtime)
