"""docs/admin-api.md: each example, asked of a gateway in which there is something to see."""

import json
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Process, Start
from tests.docs.alike import alike, same_shape
from tests.docs.pages import ROOT, Command, blocks, commands
from tests.fakes.redis_server import RedisServer
from tests.fakes.waiting import until

PAGE = ROOT / "docs" / "admin-api.md"
COMMANDS = [command for block in blocks(PAGE) if block.kind == "console" for command in commands(block)]
STREAM = next(command for command in COMMANDS if "/-/stream" in command.text)
POLICIES = """\
version: 1
keys:
  tenant: {{from: header, name: X-Tenant-Id, on_missing: reject}}
  connection: {{from: header, name: X-Connection-Id, on_missing: skip}}
limits:
  tenant-10m: {{algorithm: rolling_window, limit: 500, window: 10m, key: [tenant]}}
  connection-1m: {{algorithm: token_bucket, rate: 20, per: 1m, key: [connection]}}
  once: {{algorithm: rolling_window, limit: 1, window: 1h, key: [tenant]}}
breakers:
  connection: {{key: [connection], failure_rate: 50%, minimum_calls: 13, open_for: 10m, max_open_for: 1h}}
upstreams:
  erp: {{url: "http://127.0.0.1:{port}", learn_limits: {{from: [RateLimit], scope: connection, as_limit: true}}}}
routes:
  - name: erp
    match: {{path_prefix: /erp/}}
    strip_prefix: /erp
    upstream: erp
    limits: [tenant-10m, connection-1m]
    breaker: connection
    operations:
      - {{name: product.batch, entity: product, match: {{method: GET, path: /product/batch}}}}
      - {{name: vendor.read, entity: vendor, match: {{method: GET, path: "/vendor/**"}}}}
  - {{name: once, match: {{path_prefix: /once/}}, upstream: erp, limits: [once]}}
"""


class Erp(BaseHTTPRequestHandler):
    """Answers for vendors, and for products that it cannot."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(503 if "product" in self.path else 200)
        self.send_header("RateLimit", '"api";r=41;t=170')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def erp() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Erp)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def gateway(erp: int, redis_server: RedisServer, start_gateway: Start, tmp_path: Path) -> Process:
    """One that acme has called: nine times in vain for products, and once more."""
    (tmp_path / "p.yaml").write_text(POLICIES.format(port=erp))
    env = {"GATEWAY_STORE__KEY_PREFIX": f"{tmp_path.name}:"}
    process = start_gateway("-p", str(tmp_path / "p.yaml"), "--store", redis_server.url, env=env)
    acme = {"X-Tenant-Id": "acme", "X-Connection-Id": "conn_42"}
    answers = [process.get("/erp/vendor/7", acme).status for _ in range(4)]
    answers += [process.get("/erp/product/batch", acme).status for _ in range(10)]
    assert answers == [200] * 4 + [503] * 10
    assert [process.get("/once/a", {"X-Tenant-Id": "acme"}).status for _ in range(2)] == [200, 429]
    return process


def asked(process: Process, command: Command) -> str:
    text = command.text.replace("127.0.0.1:9090", f"127.0.0.1:{process.admin_port}")
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=True)
    return done.stdout.replace(str(process.port), "8080")


def as_told(process: Process, command: Command) -> bool:
    return alike(command.told, asked(process, command))


def test_commands(gateway: Process) -> None:
    """First those that only look."""
    assert len(COMMANDS) >= 8
    for command in sorted(COMMANDS, key=lambda command: not command.told.strip()):
        if command is STREAM:
            continue
        if not command.told.strip():
            assert "before" in asked(gateway, command) or "/explain" in command.text, command
        else:  # some of it is known about a second later
            probe = partial(as_told, gateway, command)
            until(probe, f"{command.text}\n{asked(gateway, command)}")


HEAVY, REPEATED = (json.loads(block.text) for block in blocks(PAGE) if block.kind == "json")
"""What stands there without a command."""


def test_answers(gateway: Process) -> None:
    """The heavy callers."""
    done = json.loads(gateway.get("/-/top?by=rejected&limit=20", admin=True).body)  # type: ignore[attr-defined]
    for callers in (HEAVY["callers"], done["callers"]):
        for one in callers:
            one.update(limit="", key="", partition="")
    assert same_shape(HEAVY, done)


def test_repeated_reads(gateway: Process) -> None:
    watch = f"http://127.0.0.1:{gateway.admin_port}/-/repeats"
    order = ["curl", "-sf", watch, "-H", "Content-Type: application/json", "-d", '{"ttl": "10m"}']
    subprocess.run(order, check=True, capture_output=True)
    for _ in range(3):
        gateway.get("/erp/vendor/7", {"X-Tenant-Id": "acme", "X-Connection-Id": "conn_1"})

    def told() -> Any:
        done = json.loads(gateway.get("/-/repeats?limit=20", admin=True).body)  # type: ignore[attr-defined]
        return done if done["reads"] == 3 else None

    done = until(told, "three reads")
    for one in (*done["repeats"], *REPEATED["repeats"]):
        one.update(limits=one["limits"][:1], route="", path="")
        one["limits"][0].update(limit="", key="")
    assert same_shape({**REPEATED, "watching": True}, done)


def test_the_stream(gateway: Process) -> None:
    words = STREAM.text.replace("127.0.0.1:9090", f"127.0.0.1:{gateway.admin_port}").replace("'", "").split()
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as curl:
        assert curl.stdout is not None
        assert curl.stdout.readline() == STREAM.told.splitlines(keepends=True)[0]
        gateway.get("/once/a", {"X-Tenant-Id": "acme"})
        line = next(line for line in curl.stdout if line.startswith("data: "))
        curl.kill()
    assert json.loads(line.removeprefix("data: "))["decision"] == "limited"
