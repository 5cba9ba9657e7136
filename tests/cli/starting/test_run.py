"""`gateway run` as a person or a service manager meets it: real processes, real sockets."""

import os
import re
import shlex
import signal
import subprocess
import threading
from functools import partial
from pathlib import Path

import pytest

from tests.cli.conftest import Start
from tests.cli.starting.running import AT_ONCE, POLICY, TENANT, connects
from tests.fakes.nursery import Nursery
from tests.fakes.waiting import until


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


def test_it_says_when_there_are_too_few_files(start_gateway: Start) -> None:
    process = start_gateway(env={**AT_ONCE, "GATEWAY_BOUNDS__SOCKETS": "100000000"})
    (said,) = process.wait_for("sockets.limited")
    assert said["level"] == "warning"
    assert 0 < said["sockets"] < said["sockets_wanted"] == 100_000_000


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


@pytest.mark.parametrize("workers", ["1", "2"])
def test_where_another_programs_workers_keep_their_metrics_is_left_alone(
    start_gateway: Start, tmp_path: Path, workers: str
) -> None:
    """Whether that directory is there or not."""
    for place in (tmp_path, tmp_path / "none"):
        process = start_gateway("--workers", workers, env={"PROMETHEUS_MULTIPROC_DIR": str(place)})
        assert process.get("/metrics", admin=True).status == 200
        assert not list(tmp_path.glob("*.db"))


def test_quiet_leaves_standard_error_empty(start_gateway: Start) -> None:
    process = start_gateway("--quiet", ready=False, env=AT_ONCE)
    until(lambda: connects(process.port), "an answer")
    process.popen.send_signal(signal.SIGTERM)
    process.ends_well()
    assert process.stderr() == ""


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


def test_healthcheck_tells_ready_unready_and_gone(start_gateway: Start, start: Start, nursery: Nursery) -> None:
    process = start_gateway(env={"GATEWAY_DRAIN__DELAY": "10m"})
    ask = partial(start, "healthcheck", "--admin", f"127.0.0.1:{process.admin_port}", nursery=nursery)
    assert ask().wait() == 0
    process.popen.send_signal(signal.SIGTERM)
    until(lambda: process.get("/readyz", admin=True).status == 503, "draining")
    assert ask().wait() == 1
    assert ask("--live").wait() == 0
    process.popen.send_signal(signal.SIGTERM)
    process.ends_well()
    gone = ask()
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
