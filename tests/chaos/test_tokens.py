"""Tokens while the worker that asks for all is stopped, and while the store is."""

import asyncio
import signal
import time
from pathlib import Path

import aiohttp
import pytest
from cryptography.fernet import Fernet

from gateway.modules.credentials.renewal import LEAST_AGE_S
from tests.chaos.conftest import Figures, Fleet
from tests.fakes.gateways import Process
from tests.fakes.oauth_server import CLIENT, FIRST_REFRESH, SECRET, running_authority
from tests.fakes.waiting import eventually, pause

POLICIES = """
version: 1
upstreams:
  up: {{url: "{url}/api"}}
credentials:
  c: {{upstream: up, type: oauth2, grant: {grant}, token_url: "{url}/token", client_id: "env:ID", client_secret: "env:SECRET"{more}}}
routes:
  - {{name: all, match: {{path_prefix: /}}, upstream: up}}
"""
GRANTS = {"client_credentials": "", "refresh_token": ', refresh_token: "env:REFRESH"'}


async def call(gateway: Process) -> int:
    async with aiohttp.ClientSession() as session, session.get(f"{gateway.url}/a") as answer:
        await answer.read()
        return answer.status


@pytest.mark.parametrize("grant", GRANTS)
async def test_a_stopped_worker_with_the_lease_holds_up_the_others_no_longer_and_overwrites_nothing(
    grant: str, fleet: Fleet, figures: Figures, tmp_path: Path
) -> None:
    env = {
        "ID": CLIENT, "SECRET": SECRET, "REFRESH": FIRST_REFRESH, "GATEWAY_TOKEN_KEYS": Fernet.generate_key().decode()
    }  # fmt: skip
    with running_authority() as server:
        server.control(rotate=True, lenient=True, mode="hold")
        text = POLICIES.format(url=server.url, grant=grant, more=GRANTS[grant])
        stopped, other = [await fleet(text, "--workers", "1", env=env) for _ in range(2)]
        held = asyncio.create_task(call(stopped))
        await eventually(lambda: server.seen["requests"])
        stopped.process.send_signal(signal.SIGSTOP)
        server.control(mode="ok")
        began = time.monotonic()

        async def served() -> bool:
            status = await call(other)
            assert status in (200, 503)
            return status == 200

        await eventually(served, gap_s=0.2)
        figures(f"SIGSTOP with the lease, {grant}", others_waited_s=time.monotonic() - began)
        stopped.process.send_signal(signal.SIGCONT)
        assert await held in (200, 503)  # it may have been stopped for longer than an answer may take
        server.control(revoke=True)
        await pause(LEAST_AGE_S + 1, "what is younger is not replaced")
        assert await asyncio.gather(*[call(one) for one in (stopped, other) * 10]) == [200] * 20
        seen = server.seen
        used = [form.get("refresh_token") for form in seen["forms"]]
        assert seen["requests"] == 3, used
        if grant == "refresh_token":
            assert used[:2] == [FIRST_REFRESH] * 2
            assert used[2] not in used[:2]
