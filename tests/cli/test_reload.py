"""Policies that are edited while a gateway serves: real processes, real files, callers that never stop calling."""

import http.client
import json
import os
import resource
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from gateway.reload.edition import Edition, write_edition
from tests.cli.calling import calling
from tests.cli.command import Done, gateway
from tests.cli.conftest import Process, Start
from tests.cli.edited import POLICY, save
from tests.fakes.nursery import ROOT
from tests.fakes.waiting import until

BAD = POLICY.replace("limit: {limit}", "limt: {limit}")
MANY = 900_000
TENANTS = [{"X-Tenant-Id": name} for name in ("t0", "t1", "t2")]


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    folder = tmp_path / "policies"
    folder.mkdir()
    save(folder, MANY)
    return folder


@pytest.fixture
def serving(start_gateway: Start, policies: Path) -> Process:
    return start_gateway("-p", str(policies), "--workers", "2", env={"GATEWAY_DRAIN__DELAY": "0s"})


def ask(process: Process, method: str, path: str, order: object = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", process.admin_port, timeout=30)
    try:
        body = None if order is None else json.dumps(order)
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def limit_of(process: Process, tenant: str = "probe") -> int:
    return int(process.get("/x", {"X-Tenant-Id": tenant}).headers["X-RateLimit-Limit"])


def everywhere(process: Process, limit: int) -> bool:
    """Connections of their own reach both workers, sooner or later."""
    return all(limit_of(process) == limit for _ in range(8))


def test_settings_that_go_away_are_no_wish_for_the_shipped_ones(
    start_gateway: Start, tmp_path: Path, policies: Path
) -> None:
    """As while another branch is checked out: the sample policy in the place of one's own would be a disaster."""
    settings = tmp_path / "config" / "gateway.yaml"
    settings.parent.mkdir()
    settings.write_text(f"version: 1\npolicies: {policies}\nstore: {{url: local}}\n")
    process = start_gateway()
    assert limit_of(process) == MANY
    settings.parent.rename(tmp_path / "elsewhere")
    process.wait_for("policy.rejected")
    status, answer = ask(process, "POST", "/-/reload", {})
    assert (status, answer["errors"][0]["message"]) == (422, "the settings file does not exist")
    assert limit_of(process) == MANY


def versions(process: Process) -> set[str]:
    """Of the calls in the log so far."""
    return {line["policy_version"] for line in process.events("http.access")}


def command(process: Process, *options: str) -> Done:
    return gateway("reload", "--admin", f"127.0.0.1:{process.admin_port}", *options)


def told_last(process: Process) -> str:
    return str(ask(process, "GET", "/-/status")[1]["reloads"][0]["event_name"])


def test_edits_of_every_kind_are_in_force_on_every_worker(serving: Process, policies: Path) -> None:
    with calling(serving.port, TENANTS) as seen:
        save(policies, 400_000)
        serving.wait_for("policy.loaded", 3)
        assert everywhere(serving, 400_000)
        with (policies / "policy.yaml").open("r+") as file:  # in place
            file.write(POLICY.format(limit=300_000))
            file.truncate()
        loaded = serving.wait_for("policy.loaded", 4)[-1]
        assert everywhere(serving, 300_000)
        assert loaded["changes"] == {"changed": 1, "tighter": 1} | loaded["changes"]
        assert loaded["policy_version"] == loaded["version"]
    assert set(seen) == {"200"}
    until(lambda: loaded["version"] in versions(serving), "a call that says so")


def test_a_mounted_config_map_is_followed_when_its_link_moves(start_gateway: Start, tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    for name, limit in (("..v1", 500), ("..v2", 600)):
        (mount / name).mkdir(parents=True)
        (mount / name / "policy.yaml").write_text(POLICY.format(limit=limit))
    (mount / "..data").symlink_to("..v1")
    (mount / "policy.yaml").symlink_to("..data/policy.yaml")
    process = start_gateway("-p", str(mount))
    assert limit_of(process) == 500
    (mount / "..next").symlink_to("..v2")
    (mount / "..next").rename(mount / "..data")
    process.wait_for("policy.loaded", 2)
    assert limit_of(process) == 600


def test_a_mistake_changes_nothing_and_shows_everywhere(serving: Process, policies: Path) -> None:
    version = ask(serving, "GET", "/-/policy")[1]["version"]
    with calling(serving.port, TENANTS) as seen:
        save(policies, 5, BAD)
        told = serving.wait_for("policy.rejected")[0]
        place = f"{policies / 'policy.yaml'}:4:38: "
        assert told["errors"][0].startswith(place)
        assert told["version"] == version
        status, body = ask(serving, "POST", "/-/reload")
        assert (status, body["result"], body["version"]) == (422, "rejected", version)
        assert {(error["line"], error["code"]) for error in body["errors"]} >= {(4, "unknown-key")}
        assert ask(serving, "GET", "/readyz?verbose")[1]["last_reload"]["result"] == "rejected"
        assert "gateway_policy_last_reload_successful 0.0" in serving.get("/metrics", admin=True).body.decode()
        done = command(serving)
        assert (done.returncode, done.stdout) == (1, "")
        assert place in done.stderr
    assert set(seen) == {"200"}
    assert serving.get("/readyz", admin=True).status == 200
    save(policies, MANY)
    serving.wait_for("policy.unchanged")
    until(lambda: "successful 1.0" in serving.get("/metrics", admin=True).body.decode(), "the metric to be well")
    until(lambda: told_last(serving) == "policy.unchanged", "the status to say so")
    assert b"The last reload" not in serving.get("/", admin=True).body, "the dashboard has no reason to warn"
    said = {one["event_name"]: (one["errors"], one["reason"]) for one in ask(serving, "GET", "/-/status")[1]["reloads"]}
    assert said == {"policy.loaded": ([], ""), "policy.rejected": (told["errors"], ""), "policy.unchanged": ([], "")}


@contextmanager
def no_file_can_be_opened(process: Process) -> Iterator[None]:
    soft, hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (0, hard))
    yield
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (soft, hard))


def test_what_could_not_be_read_for_a_while_is_read_later(start_gateway: Start, policies: Path) -> None:
    """Without another edit; and told once, however often it is tried."""
    file = policies / "policy.yaml"
    process = start_gateway("-p", str(file))
    with no_file_can_be_opened(process):
        file.write_text(POLICY.format(limit=400_000))
        told = process.wait_for("policy.rejected")
        assert "Too many open files" in told[0]["errors"][0]
    process.wait_for("policy.loaded", 2)
    assert limit_of(process) == 400_000


def test_a_shortage_that_is_over_is_no_alarm(start_gateway: Start, policies: Path) -> None:
    process = start_gateway("-p", str(policies))
    with no_file_can_be_opened(process):
        process.wait_for("policy.rejected")
    process.wait_for("policy.unchanged")
    assert told_last(process) == "policy.unchanged"
    assert len(process.events("policy.rejected")) == 1


def test_what_could_not_be_handed_to_the_workers_is_handed_to_them_later(
    serving: Process, policies: Path, runtime: Path
) -> None:
    """As when the disk is full."""
    serving.wait_for("gateway.ready", 2)
    [directory] = runtime.glob("gateway-*")
    away = directory.rename(runtime / "away")
    save(policies, 77)
    told = serving.wait_for("policy.failed")[0]
    assert told["reason"].startswith(str(directory))
    assert told["reason"].endswith(" cannot be written: No such file or directory")
    away.rename(directory)
    serving.wait_for("policy.loaded", 3)
    assert everywhere(serving, 77)
    assert len(serving.events("policy.failed")) == 1


def test_of_an_edition_that_cannot_be_written_nothing_is_left(tmp_path: Path) -> None:
    unwritable: Any = open
    with pytest.raises(TypeError), tmp_path.joinpath("x").open("wb") as file:
        write_edition(tmp_path / "edition-1", Edition(file, unwritable))  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_what_the_command_and_the_signal_do(serving: Process, policies: Path) -> None:
    done = command(serving)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("unchanged: ")
    save(policies, 7)
    done = command(serving, "--json")
    document = json.loads(done.stdout)
    assert document["result"] in ("loaded", "unchanged"), "the watch may have been quicker"
    assert everywhere(serving, 7)
    before = len(serving.events("policy.unchanged"))
    serving.popen.send_signal(signal.SIGHUP)
    serving.wait_for("policy.unchanged", before + 1)
    serving.popen.send_signal(signal.SIGTERM)
    serving.ends_well()
    assert serving.events("certificates.loaded") == [], "there are none"
    assert command(serving).returncode == 3


def test_systemd_is_told_while_files_are_read(start_gateway: Start, policies: Path, notify: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(notify))
        manager.settimeout(30)
        process = start_gateway("-p", str(policies), "--workers", "2", env={"NOTIFY_SOCKET": str(notify)})
        assert ask(process, "POST", "/-/reload")[0] == 200
        said = [manager.recv(200) for _ in range(3)]
    assert [one.partition(b"\n")[0] for one in said] == [b"READY=1", b"RELOADING=1", b"READY=1"]
    assert said[1].partition(b"MONOTONIC_USEC=")[2].isdigit()


def test_counters_survive_a_changed_number(serving: Process, policies: Path) -> None:
    def used(limit: int) -> int:
        save(policies, limit)
        assert ask(serving, "POST", "/-/reload")[0] == 200
        return limit - int(serving.get("/x", {"X-Tenant-Id": "acme"}).headers["X-RateLimit-Remaining"])

    assert [used(500), used(300), used(500)] == [1, 2, 3]


def test_a_mistake_shows_also_when_the_workers_that_knew_of_it_have_gone(serving: Process, policies: Path) -> None:
    until(lambda: len(serving.events("gateway.ready")) == 2, "both to serve")
    save(policies, 5, BAD)
    serving.wait_for("policy.rejected")
    for worker in (0, 1):
        begun = serving.events("worker.started")[worker]
        os.kill(begun["pid"], signal.SIGKILL)
        serving.wait_for("gateway.ready", 3 + worker)
        until(lambda: told_last(serving) == "policy.rejected", "the successor to have learnt of it")
        until(lambda: b"The last reload was rejected" in serving.get("/", admin=True).body, "the page to warn")
        until(lambda: b"successful 0.0" in serving.get("/metrics", admin=True).body, "the metric to be bad")
    save(policies, 5)
    until(lambda: b"successful 1.0" in serving.get("/metrics", admin=True).body, "the metric to be well")


def test_a_hundred_reloads_under_load_lose_no_call(serving: Process, policies: Path) -> None:
    with calling(serving.port, TENANTS) as seen:
        for number in range(100):
            save(policies, MANY + number + 1)
            assert ask(serving, "POST", "/-/reload")[1]["result"] in ("loaded", "unchanged")
        assert everywhere(serving, MANY + 100)
    assert set(seen) == {"200"}


def test_workers_are_replaced_without_losing_a_call(serving: Process) -> None:
    pids = {event["pid"] for event in serving.wait_for("worker.started", 2)}
    serving.wait_for("gateway.ready", 2)
    with calling(serving.port, TENANTS) as seen:
        done = command(serving, "--workers")
        assert done.returncode == 0
        assert "2 workers are being replaced" in done.stdout
        ended = serving.wait_for("worker.replaced", 2)
        after = sum(seen.values())
        until(lambda: sum(seen.values()) > after + 20, "calls by the new ones")
    assert set(seen) == {"200"}
    assert {event["pid"] for event in ended} == pids
    assert {event["exit_code"] for event in ended} == {0}
    assert not serving.events("worker.exited")
    assert len(serving.wait_for("gateway.ready", 4)) == 4
    begun = {event["worker"]: event["timestamp"] for event in serving.events("gateway.ready")}  # of each the last time
    left = {event["worker"]: event["timestamp"] for event in serving.events("gateway.draining")}
    assert begun.keys() == left.keys() == {0, 1}
    assert all(begun[worker] <= left[worker] for worker in left), "nobody leaves before its successor serves"
    serving.popen.send_signal(signal.SIGTERM)
    serving.ends_well()


def test_a_worker_that_dies_meanwhile_has_a_successor_with_the_new_set(serving: Process, policies: Path) -> None:
    pids = {event["worker"]: event["pid"] for event in serving.wait_for("worker.started", 2)}
    serving.wait_for("gateway.ready", 2)
    os.kill(pids[1], signal.SIGSTOP)  # it does not get ready
    results: list[Any] = []
    asking = threading.Thread(target=lambda: results.append(ask_until_answered(serving)))
    try:
        save(policies, 77)
        asking.start()
    finally:
        os.kill(pids[1], signal.SIGKILL)
    asking.join()
    assert results[0]["result"] in ("loaded", "unchanged")
    serving.wait_for("gateway.ready", 3)
    until(lambda: everywhere(serving, 77), "both workers with the new set")


def test_a_new_set_comes_without_being_asked_for_when_a_worker_that_hung_is_replaced(
    start_gateway: Start, policies: Path
) -> None:
    quick = {"GATEWAY_DRAIN__DELAY": "0s", "GATEWAY_WATCHDOG": "2s"}
    process = start_gateway("-p", str(policies), "--workers", "2", env=quick)
    pids = {event["worker"]: event["pid"] for event in process.wait_for("worker.started", 2)}
    process.wait_for("gateway.ready", 2)
    os.kill(pids[0], signal.SIGSTOP)  # it was ready first, and so it is the one that reads the files
    save(policies, 77)
    process.wait_for("gateway.ready", 3)
    until(lambda: everywhere(process, 77), "both workers with the new set")
    assert [event["pid"] for event in process.events("worker.hung")] == [pids[0]]


def ask_until_answered(process: Process) -> Any:
    """The admin listener is one socket for all workers: the one that is stopped may have taken the question along."""

    def answered() -> Any:
        try:
            return ask(process, "POST", "/-/reload")[1]
        except (OSError, http.client.HTTPException):
            return None

    return until(answered, "an answer")


def test_settings_that_may_change_do_and_the_others_are_named(
    start_gateway: Start, policies: Path, tmp_path: Path
) -> None:
    config = tmp_path / "gateway.yaml"
    config.write_text("version: 1\nheaders: {legacy: off}\n")
    process = start_gateway("-c", str(config), "-p", str(policies))
    assert "X-RateLimit-Limit" not in process.get("/x", {"X-Tenant-Id": "a"}).headers
    assert ask(process, "PUT", "/-/log-level", {"level": "debug", "ttl": "1h"})[0] == 200
    more = "name: other\nstore: {key_prefix: 'x:'}\nlogging: {level: warning}\n"
    config.write_text(f"version: 1\nheaders: {{legacy: x-ratelimit}}\n{more}")
    told = process.wait_for("config.loaded", 2)[-1]
    assert told["settings_changed"] == ["headers.legacy", "logging.level"]
    assert told["needs_new_workers"] == ["name"]
    assert told["needs_restart"] == ["store.key_prefix"]
    assert "X-RateLimit-Limit" in process.get("/x", {"X-Tenant-Id": "a"}).headers
    assert ask(process, "GET", "/-/status")[1]["switches"]["log_level"] == "debug", "the operator's, for its time"
    assert ask(process, "POST", "/-/reload?workers")[0] == 409


def test_new_workers_begin_with_what_only_they_can_take(start_gateway: Start, policies: Path, tmp_path: Path) -> None:
    """Though nothing else has changed; and not with what was edited back before."""
    config = tmp_path / "gateway.yaml"
    names = []

    def edit(name: str) -> None:
        config.write_text(f"version: 1\nname: {name}\n")

    def replaced(workers: int) -> None:
        status, told = ask(process, "POST", "/-/reload?workers")
        assert (status, told["result"], told["replaced_workers"]) == (200, "unchanged", 2)
        process.wait_for("worker.replaced", workers)
        names.append({line["instance"] for line in process.wait_for("gateway.ready", workers + 2)[workers:]})

    edit("first")
    env = {"GATEWAY_DRAIN__DELAY": "0s"}
    process = start_gateway("-c", str(config), "-p", str(policies), "--workers", "2", env=env)
    edit("second")
    replaced(2)
    edit("third")
    save(policies, 77)
    assert ask(process, "POST", "/-/reload")[0] == 200
    edit("second")
    replaced(4)
    assert names == [{"second"}, {"second"}]


def test_new_workers_do_not_begin_with_a_log_that_cannot_be_written(
    start_gateway: Start, policies: Path, tmp_path: Path
) -> None:
    """At the start that is a mistake, too; once they serve, their lines would be dropped."""
    config, log = tmp_path / "gateway.yaml", tmp_path / "logs" / "access.jsonl"
    config.write_text("version: 1\n")
    env = {"GATEWAY_DRAIN__DELAY": "0s"}
    process = start_gateway("-c", str(config), "-p", str(policies), "--workers", "2", env=env)
    config.write_text(f"version: 1\nlogging: {{access: {log}}}\n")
    status, told = ask(process, "POST", "/-/reload?workers")
    why = f"cannot write the log {log} (logging.access): No such file or directory"
    assert (status, told["result"], told["detail"]) == (503, "failed", why)
    assert process.events("worker.replaced") == []
    log.parent.mkdir()
    assert ask(process, "POST", "/-/reload?workers")[0] == 200
    process.wait_for("worker.replaced", 2)
    process.get("/x", TENANTS[0])
    until(lambda: log.read_text(), "its line")
    assert log.stat().st_mode & 0o007 == 0, "it is for nobody else"


DYING = """
import os, signal

from gateway.siblings import Siblings

asked = Siblings.ask_all


async def ask_all(self, what, *more, **kind):
    if what == "reload.version" and os.path.exists(%(when)r):
        os.unlink(%(when)r)
        os.kill(os.getpid(), signal.SIGKILL)
    return await asked(self, what, *more, **kind)


Siblings.ask_all = ask_all
"""
"""Imported by each interpreter: the leader dies behind the next commit, as long as a file is there."""


def dying(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """That file, and the environment of a gateway whose leaders do so."""
    when = tmp_path / "when"
    (tmp_path / "sitecustomize.py").write_text(DYING % {"when": str(when)})
    return when, {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}


def test_what_a_leader_put_in_place_before_it_died_is_told_by_the_next(
    start_gateway: Start, policies: Path, tmp_path: Path
) -> None:
    when, path = dying(tmp_path)
    process = start_gateway("-p", str(policies), "--workers", "3", fresh=True, env=path)
    process.wait_for("gateway.ready", 3)

    def told() -> list[dict[str, Any]]:
        """Of reloads: workers that begin say it, too."""
        return [line for line in process.events("policy.loaded") if "reload_by" in line]

    for times, limit in enumerate((400_000, 300_000), 1):
        when.touch()
        save(policies, limit)
        until(lambda: not when.exists(), "the leader to die")
        until(lambda times=times: len(told()) == times, "the next one to tell")
        assert told()[-1]["changes"] == {"changed": 1, "tighter": 1} | told()[-1]["changes"]
        assert everywhere(process, limit)
        process.wait_for("gateway.ready", 3 + times)
    assert told_last(process) == "policy.loaded"
    assert len(told()) == 2


def test_what_a_leader_put_in_place_for_new_workers_is_told_as_what_it_was(
    start_gateway: Start, policies: Path, tmp_path: Path
) -> None:
    """Nothing was edited, and it was no edit that asked."""
    when, path = dying(tmp_path)
    process = start_gateway("-p", str(policies), "--workers", "2", fresh=True, env=path)
    process.wait_for("gateway.ready", 2)
    when.touch()
    with suppress(OSError, http.client.HTTPException):  # the one that is asked may be the one that dies
        ask(process, "POST", "/-/reload?workers")
    assert process.wait_for("policy.unchanged")[0]["reload_by"] == "admin"
    assert [line for line in process.events("policy.loaded") if "reload_by" in line] == []
