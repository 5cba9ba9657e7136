"""Tokens and connection tests of whole gateways with several workers: shared, told, and never shown."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import aiohttp
from cryptography.fernet import Fernet

from tests.e2e.conftest import Launch, Process
from tests.fakes.gateways import ROOT
from tests.fakes.oauth_server import CLIENT, FIRST_REFRESH, SECRET, running_authority
from tests.fakes.waiting import eventually

POLICIES = """
version: 1
keys:
  tenant: {{from: header, name: X-Tenant-Id, on_missing: skip}}
  connection: {{from: header, name: X-Connection-Id, on_missing: reject}}
upstreams:
  up: {{url: "{url}/api", probe: {{path: /health}}}}
credentials:
  c1: {{upstream: up, match: {{connection: c1}}, type: oauth2, token_url: "{url}/token", client_id: "env:ID", client_secret: "file:{folder}/secret"}}
  c2: {{upstream: up, match: {{connection: c2}}, type: oauth2, grant: refresh_token, token_url: "{url}/token", client_id: "env:ID", client_secret: "file:{folder}/secret", refresh_token: "env:REFRESH", client_auth: post}}
routes:
  - {{name: all, match: {{path_prefix: /}}, upstream: up}}
"""


async def call(gateway: Process, connection: str) -> int:
    """On a socket of its own, so that any worker may get it."""
    headers = {"X-Connection-Id": connection, "Connection": "close"}
    async with aiohttp.ClientSession() as session, session.get(f"{gateway.url}/a", headers=headers) as answer:
        await answer.read()
        return answer.status


async def ask(gateway: Process, path: str, method: str = "GET") -> Any:
    url = f"http://127.0.0.1:{gateway.admin_port}{path}"
    async with aiohttp.ClientSession() as session, session.request(method, url) as answer:
        return await answer.json() if "json" in answer.headers["Content-Type"] else await answer.text()


async def command(gateway: Process, *words: str) -> tuple[int, str]:
    """`gateway connections` with these words: exit code, and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "connections", *words, "--admin", f"127.0.0.1:{gateway.admin_port}"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, printed.decode()


async def until(gateway: Process, connection: str, state: str) -> None:
    async def so() -> bool:
        return (await ask(gateway, f"/-/connections/{connection}")).get("state") == state

    await eventually(so, state)


async def test_a_fleet_and_its_tokens(launch: Launch, redis_client: Any, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    key = Fernet.generate_key().decode()
    env = {"ID": CLIENT, "REFRESH": FIRST_REFRESH, "GATEWAY_TOKEN_KEYS": key}
    with running_authority() as server:
        server.control(rotate=True)
        policies = POLICIES.format(url=server.url, folder=tmp_path)
        fleet = [await launch(policies, "--workers", "2", env=env)]
        statuses = await asyncio.gather(*[call(one, name) for one in fleet for name in ("c1", "c2") * 8])
        assert set(statuses) == {200}
        seen = server.seen
        assert (seen["issued"], seen["reused"]) == (2, 0), "one worker for each"

        tested = await ask(fleet[0], "/-/connections/c1/test", "POST")
        assert tested["ok"] is True, tested
        code, printed = await command(fleet[0], "test", "c2", "--upstream", "up")
        assert (code, printed.count("ok ")) == (0, 5), printed
        assert printed.startswith("up: GET /api/health, credentials c2")
        server.control(mode="refuse", revoke=True)
        (tmp_path / "secret").write_text(f"{SECRET}-changed")
        outcome = await ask(fleet[0], "/-/reload", "POST")
        assert outcome["result"] == "loaded"
        assert await call(fleet[0], "c1") == 502
        await until(fleet[0], "c1", "auth_required")
        code, printed = await command(fleet[0], "test", "c1", "--json")
        assert (code, json.loads(printed)["upstreams"][0]["steps"][-1]["detail"]) == (1, "invalid_client")
        failing = (await ask(fleet[0], "/-/status"))["credentials"]["failing"]
        assert [(one["credentials"], one["reason"]) for one in failing] == [("c1", "invalid_client")]
        assert fleet[0].events("credentials.refused")
        assert "auth_required" in json.dumps([one.events("connection.auth_required") for one in fleet])

        said = [
            str(await ask(one, path)) for one in fleet for path in ("/-/status", "/-/policy", "/-/config", "/metrics")
        ]
        said += [str(tested), str(outcome)]
        said += [path.read_text() for one in fleet for path in (one.log, one.log.with_name("stdout"))]
    kept = [str(await redis_client.hgetall(name)) for name in await redis_client.keys("*token:*kept")]
    assert len(kept) == 2
    everything = "\n".join([*said, *kept])
    assert [secret for secret in ("s3cr3t", key) if secret in everything] == []
    assert 'gateway_tokens_total{result="renewed",upstream="up"}' in everything
