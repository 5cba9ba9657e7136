"""Certificate files that cannot be used any more when a worker has to follow another."""

import os
import signal
import ssl
from pathlib import Path

import httpx
import trustme

from tests.e2e.conftest import Launch, Process
from tests.fakes.upstream import Upstream
from tests.fakes.waiting import PATIENCE_S, eventually

POLICIES = """
version: 1
upstreams: {up: {url: "https://localhost:%d", tls: {ca_file: %s}}}
routes: [{name: all, match: {path_prefix: /}, upstream: up}]
"""


def serving(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("localhost").configure_cert(context)
    return context


async def call(gateway: Process) -> int:
    async with httpx.AsyncClient(base_url=gateway.url, timeout=PATIENCE_S) as caller:
        return (await caller.get("/x")).status_code


async def replace_workers(gateway: Process) -> None:
    """Kill all, and wait until others serve: each has told of the file that it could not read."""
    before, told = gateway.worker_pids(), len(gateway.events("certificates.rejected"))
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    found = await gateway.said("certificates.rejected", told + len(before))
    assert all("ca.pem" in one["reason"] for one in found)
    assert {one["worker"] for one in found[told:]} == {*before}


async def test_workers_that_follow_others_go_by_what_the_files_said_before(launch: Launch, tmp_path: Path) -> None:
    old, new, file = trustme.CA(), trustme.CA(), tmp_path / "ca.pem"
    old.cert_pem.write_to_path(file)
    async with Upstream(tls=serving(old)) as first, Upstream(tls=serving(new)) as second:
        gateway = await launch(POLICIES % (first.port, file), "--workers", "2")
        assert await call(gateway) == 200
        await gateway.said("gateway.ready", 2)
        file.write_text("-----BEGIN CERTIFICATE-----\nhalf of")
        await replace_workers(gateway)
        assert await call(gateway) == 200

        new.cert_pem.write_to_path(file)
        loaded = len(gateway.events("policy.loaded"))
        policies = gateway.log.parent / "policies" / "test.yaml"
        policies.write_text(POLICIES % (second.port, file))
        gateway.process.send_signal(signal.SIGHUP)
        await gateway.said("certificates.loaded", 2)
        await eventually(lambda: len(gateway.events("policy.loaded")) > loaded)
        file.unlink()
        await replace_workers(gateway)
        assert await call(gateway) == 200
        assert (first.accepted, second.accepted) == (2, 1)
