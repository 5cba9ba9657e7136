"""A new version in the place of the old one, on sockets that are never closed: by SIGUSR2, and from systemd's hands."""

import fcntl
import http.client
import os
import select
import signal
import socket
import struct
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.supervisor import inheritance, succession
from gateway.supervisor.failure import StartFailed
from gateway.supervisor.inheritance import SUCCEEDS, Inheritance, inherit
from gateway.supervisor.succession import Succession
from tests.cli.calling import calling
from tests.cli.conftest import Process, Start, alive
from tests.fakes.nursery import Nursery
from tests.fakes.ports import free_port
from tests.fakes.waiting import until

SETTINGS = """\
version: 1
listen: 127.0.0.1:{port}
admin: 127.0.0.1:{admin}
workers: {workers}
policies: policies
drain: {{delay: 0s}}
logging: {{access: "off"}}
"""
POLICIES = """\
upstreams:
  sample: {url: "builtin:echo"}
routes:
  - {name: all, match: {path_prefix: /}, upstream: sample}
"""
EACH = {"Connection": "close"}
BOTH: Sequence[Mapping[str, str]] = [{}, {}, EACH, EACH]  # some keep their connection, some have one for each call
LISTENING_S = 0.3
CREDENTIALS = struct.Struct("3i")  # unix(7): pid, uid, gid
AS_SYSTEMD = """
import fcntl, os, sys
names, fds, command = sys.argv[1], [int(fd) for fd in sys.argv[2].split(",")], sys.argv[3:]
for number, fd in enumerate([fcntl.fcntl(fd, fcntl.F_DUPFD, 100) for fd in fds]):
    os.dup2(fd, 3 + number)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)), LISTEN_FDNAMES=names)
os.execv(sys.executable, [sys.executable, *command])
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a settings file of a gateway, as `write` leaves it."""
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "policy.yaml").write_text(POLICIES)
    write(tmp_path, free_port(), free_port())
    return tmp_path


def write(folder: Path, port: int, admin: int, workers: int = 1) -> None:
    (folder / "gateway.yaml").write_text(SETTINGS.format(port=port, admin=admin, workers=workers))
    (folder / "ports").write_text(f"{port} {admin}")


def ports(folder: Path) -> tuple[int, int]:
    listen, admin = (folder / "ports").read_text().split()
    return int(listen), int(admin)


@pytest.fixture
def begin(start: Start, nursery: Nursery, folder: Path) -> Iterator[Callable[..., Process]]:
    """Starts a gateway with the settings of `folder`, ready; every successor that it reports ends with the test."""
    begun: list[Process] = []

    def one(*options: str, env: Mapping[str, str] = {}) -> Process:
        words = ("run", "-c", str(folder / "gateway.yaml"), *options)
        process = start(*words, cwd=folder, env=env, nursery=nursery)
        process.port, process.admin_port = ports(folder)
        begun.append(process)
        until(lambda: process.events("gateway.ready") or process.ended(), "the gateway to be ready")
        return process

    yield one
    for process in begun:
        for pid in successors(process):
            if alive(pid):
                os.kill(pid, signal.SIGINT)
                until(lambda pid=pid: not alive(pid), "its end")


def successors(process: Process) -> list[int]:
    return [event["pid"] for event in process.events("upgrade.started")]


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def upgrade(process: Process, of: int | None = None) -> int:
    """Send SIGUSR2 and wait until the successor serves; its pid."""
    done = len(process.events("upgrade.done"))
    os.kill(of or process.pid, signal.SIGUSR2)
    return int(process.wait_for("upgrade.done", done + 1)[-1]["pid"])


@contextmanager
def systemd(address: Path) -> Iterator[Callable[[], tuple[int, str]]]:
    """Its end of NOTIFY_SOCKET: tells who said the next thing, and what."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        manager.bind(str(address))
        manager.settimeout(30)

        def hear() -> tuple[int, str]:
            said, [(_, kind, sender)], _, _ = manager.recvmsg(200, socket.CMSG_SPACE(CREDENTIALS.size))
            assert kind == socket.SCM_CREDENTIALS
            return CREDENTIALS.unpack(sender)[0], said.decode()

        yield hear


def goes_on(seen: Counter[str]) -> None:
    """Wait for more calls."""
    before = seen.total()
    until(lambda: seen.total() > before + 20, "more calls")


# SIGUSR2 --------------------------------------------------------------------------------------------


def test_one_worker_makes_place_for_two_and_no_call_is_lost_nor_refused(
    begin: Callable[..., Process], folder: Path
) -> None:
    port, admin = ports(folder)
    process = begin()
    write(folder, port, admin, 2)
    with calling(port, BOTH) as calls, calling(admin, [EACH] * 4, "/livez") as asked:
        goes_on(calls)
        successor = upgrade(process)
        process.ends_well()
        goes_on(calls)
        goes_on(asked)
    assert set(calls) == {"200"}
    assert not any("refused" in outcome for outcome in asked), "a connection that was open may be closed"
    os.kill(successor, signal.SIGTERM)
    until(lambda: not alive(successor), "its end")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_was_begun_is_finished_also_when_all_are_told_to_stop(
    workers: int, begin: Callable[..., Process], folder: Path
) -> None:
    """Old and new, as systemd does it. The old one drains already: that is no reason to be impatient with its calls.

    The first successor does not come up, which changes nothing.
    """
    write(folder, *ports(folder), workers)
    settings = (folder / "gateway.yaml").read_text()
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        process = begin("--upstream", f"http://127.0.0.1:{upstream.getsockname()[1]}")
        caller = http.client.HTTPConnection("127.0.0.1", process.port, timeout=30)
        caller.request("GET", "/slow", headers={"X-Tenant-Id": "acme"})
        asked, _ = upstream.accept()
        with asked:
            (folder / "gateway.yaml").write_text("version: 1\nworkrs: 1\n")
            os.kill(process.pid, signal.SIGUSR2)
            assert process.wait_for("upgrade.failed")[0]["reason"].startswith("it ended before it served; ")
            assert "gateway.yaml:2:1: unknown key 'workrs'" in process.stderr()
            assert process.get("/readyz", admin=True).status == 200
            (folder / "gateway.yaml").write_text(settings)
            successor = upgrade(process)
            assert not process.ended()
            assert parent_of(successor) != process.pid, "systemd waits for the end of its own children alone"
            process.popen.send_signal(signal.SIGTERM)
            assert not select.select([caller.sock], [], [], LISTENING_S)[0], "it is not cut"
            asked.recv(65_536)
            asked.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            assert caller.getresponse().read() == b"ok"
        caller.close()
    process.ends_well()
    assert [line["cut_calls"] for line in process.events("gateway.stopped")] == [0] * workers
    assert alive(successor)


@pytest.mark.parametrize("workers", [1, 2])
def test_systemd_knows_at_any_time_who_the_service_is_and_how_it_is(
    begin: Callable[..., Process], folder: Path, notify: Path, workers: int
) -> None:
    """It hears nobody but whom it takes for the service (`NotifyAccess=main`): what the successor says before it is
    named is lost, and what it says once it is named is not."""
    write(folder, *ports(folder), workers)
    with systemd(notify) as hear:
        process = begin(env={"NOTIFY_SOCKET": str(notify)})
        assert hear() == (process.pid, "READY=1")
        successor = upgrade(process)
        process.ends_well()
        assert hear() == (successor, "READY=1")
        assert hear() == (process.pid, f"MAINPID={successor}\nREADY=1\nWATCHDOG=1")
        os.kill(successor, signal.SIGTERM)
        assert hear() == (successor, "STOPPING=1")


WAIT = "import signal; signal.pause()"


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The fields of the events so far."""
    events: list[dict[str, Any]] = []
    monkeypatch.setattr(succession, "event", lambda *_words, **fields: events.append(fields))
    return events


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch, told: list[dict[str, Any]]) -> Iterator[Succession]:
    """One that has begun, with a successor that does nothing."""
    monkeypatch.setattr(sys, "orig_argv", [sys.executable, "-c", WAIT])
    one = Succession(os.environ, frozenset())
    watched: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        for _ in range(2):  # one is enough
            one.begin([listening], None, watched.append, watched.remove)
    assert watched == [one.fd]
    yield one
    assert watched == []


def test_who_is_told_to_stop_takes_a_successor_on_its_way_along(
    waiting: Succession, told: list[dict[str, Any]]
) -> None:
    waiting.abandon()
    until(lambda: not alive(told[0]["pid"]), "its end")
    waiting.begin([], None, pytest.fail, pytest.fail)  # SIGUSR2 behind SIGTERM: nobody takes the place of who ends
    assert (waiting.fd, len(told)) == (-1, 1)


def test_one_that_takes_too_long_is_ended(waiting: Succession, told: list[dict[str, Any]]) -> None:
    waiting.look()
    assert alive(told[0]["pid"])
    waiting.due = 0.0
    waiting.look()
    until(lambda: not alive(told[0]["pid"]), "its end")
    assert told[1]["reason"] == "it did not serve within 60 s"


def test_one_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch, told: list[dict[str, Any]]) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    monkeypatch.setattr(sys, "orig_argv", ["python3", "-m", "gateway", "run"])
    one = Succession(os.environ, frozenset())
    one.begin([], None, pytest.fail, pytest.fail)
    assert (one.fd, told) == (-1, [{"reason": "cannot start /nowhere/python: No such file or directory"}])


def test_process_1_of_a_container_has_no_successor(monkeypatch: pytest.MonkeyPatch, told: list[dict[str, Any]]) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 1)
    one = Succession(os.environ, frozenset())
    one.begin([], None, pytest.fail, pytest.fail)
    assert one.fd == -1
    assert "replace the container" in told[0]["reason"]


def test_a_console_script_is_started_by_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its first line says which Python: behind a link that was moved, another one."""
    script = tmp_path / "gateway"
    script.write_text("#!/opt/gateway/bin/python\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(script), "run"])
    monkeypatch.setattr(sys, "orig_argv", ["/opt/gateway/bin/python", str(script), "run"])
    assert succession.command() == [str(script), "run"]
    monkeypatch.setattr(sys, "orig_argv", ["python3", "-m", "gateway", "run"])
    assert succession.command() == [sys.executable, "-m", "gateway", "run"]


# systemd --------------------------------------------------------------------------------------------


@pytest.fixture
def given(start: Start, folder: Path) -> Callable[..., Process]:
    """Starts a gateway with sockets as systemd hands them over: `given("listen:admin", one, two)`."""

    def one(names: str, *sockets: socket.socket) -> Process:
        options = (names, ",".join(str(sock.fileno()) for sock in sockets))
        words = ("-m", "gateway", "run", "-c", str(folder / "gateway.yaml"), "--workers", "2")
        process = start("-c", AS_SYSTEMD, *options, *words, cwd=folder, pass_fds=[sock.fileno() for sock in sockets])
        until(lambda: process.events("gateway.ready") or process.ended(), "the gateway to be ready")
        return process

    return one


def test_callers_wait_while_a_service_restarts_and_none_is_refused(given: Callable[..., Process]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_server(("127.0.0.1", 0)) as admin:
        port, admin_port = listening.getsockname()[1], admin.getsockname()[1]
        process = given("admin:gateway.socket", admin, listening)
        until(lambda: f"http://127.0.0.1:{port}\n" in process.stderr(), "what has started to be told")
        with calling(port, BOTH) as calls:
            goes_on(calls)
            process.popen.send_signal(signal.SIGTERM)
            process.ends_well()
            process = given("admin:gateway.socket", admin, listening)
            goes_on(calls)
        assert set(calls) == {"200"}
        process.admin_port = admin_port
        assert process.get("/readyz", admin=True).status == 200


def test_an_admin_socket_open_to_the_network_needs_a_token(given: Callable[..., Process]) -> None:
    with socket.create_server(("0.0.0.0", 0)) as admin:
        process = given("admin", admin)
        assert process.wait() == 4
        assert "an address others can reach needs an admin token" in process.stderr()


def as_systemd(monkeypatch: pytest.MonkeyPatch, names: str, *sockets: socket.socket) -> dict[str, str]:
    """The environment that says so, and these sockets where it says."""
    fds = [sock.detach() for sock in sockets]
    assert fds == list(range(fds[0], fds[0] + len(fds)))
    monkeypatch.setattr(inheritance, "FIRST_FD", fds[0])
    return {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(fds)), "LISTEN_FDNAMES": names, "OTHER": "stays"}


def in_a_row(*makers: Callable[[], socket.socket]) -> list[socket.socket]:
    """Sockets whose descriptors follow each other, above all that are in use."""
    first = fcntl.fcntl(0, fcntl.F_DUPFD, 500)
    os.close(first)
    made = []
    for number, make in enumerate(makers):
        with make() as sock:
            os.dup2(sock.fileno(), first + number)
        made.append(socket.socket(fileno=first + number))
    return made


def listening() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def deaf() -> socket.socket:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock


def unix() -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind("")  # Linux: a name of its own, in no file system
    sock.listen()
    return sock


def test_the_variables_are_for_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = as_systemd(monkeypatch, "gateway.socket:admin", *in_a_row(listening, listening))
    with ExitStack() as stack:
        inherited = inherit(environment)
        for sock in (*inherited.listen, *inherited.admin):
            stack.enter_context(sock)
            assert not sock.get_inheritable()
        assert environment == {"OTHER": "stays"}
        assert (len(inherited.listen), len(inherited.admin), inherited.given) == (1, 1, {"listen", "admin"})


def test_what_is_meant_for_another_process_is_left_alone() -> None:
    assert inherit({"LISTEN_PID": "1", "LISTEN_FDS": "1"}) == Inheritance()


@pytest.mark.parametrize("count", ["two", "-1", "\u00b2", "1" * 5_000, " 1"])
def test_a_number_of_sockets_that_is_none_is_refused(count: str) -> None:
    with pytest.raises(StartFailed, match=f"^LISTEN_FDS={count} in the environment is no number of sockets$"):
        inherit({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count})


NO_WILLS = [
    "1", "{", "[]", "{}", '{"ready": "x"}', '{"ready": -1}', '{"ready": 999999}', '{"ready": 99999999999999}',
    '{"ready": OURS, "listen": 1, "admin": []}', '{"ready": OURS, "listen": [], "admin": [-1]}',
    '{"ready": OURS, "listen": [], "admin": [], "given": [[]]}',
]  # fmt: skip


@pytest.mark.parametrize("will", NO_WILLS)
def test_words_that_no_predecessor_says_are_refused(will: str) -> None:
    with (
        Path(os.devnull).open() as ours,  # no child inherits it from now on: pytest's own 0 would be missed
        pytest.raises(StartFailed, match=r"^RATELIMIT_GATEWAY_SUCCEEDS in the environment is not what a gateway tells"),
    ):
        inherit({SUCCEEDS: will.replace("OURS", str(ours.fileno()))})


@pytest.mark.parametrize("make", [deaf, unix])
def test_a_socket_that_is_of_no_use_is_refused(
    monkeypatch: pytest.MonkeyPatch, make: Callable[[], socket.socket]
) -> None:
    with pytest.raises(StartFailed, match=r"handed over and is no TCP socket that listens \(ListenStream=PORT\)"):
        inherit(as_systemd(monkeypatch, "", *in_a_row(make)))


def test_the_admin_listener_has_one_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StartFailed, match="several sockets named admin"):
        inherit(as_systemd(monkeypatch, "admin:admin", *in_a_row(listening, listening)))
