"""TLS of our own listener: verified by callers, and renewed while it listens."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import ssl
import sys
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509

from gateway.build import build_listener
from gateway.certificate_files import begin_with, begun, keep
from gateway.listener.tls import Certificates, server_tls
from gateway.settings import Listen, Tls
from tests.app.conftest import ONE_ROUTE, Start
from tests.fakes.ports import free_port
from tests.fakes.upstream import Upstream
from tests.fakes.waiting import eventually

CA = trustme.CA()
GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"


def trusting(ca: trustme.CA, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    """A caller's context that verifies, names included."""
    context = ssl.create_default_context()
    ca.configure_trust(context)
    context.maximum_version = newest
    return context


def issue(
    place: Tls, *names: str, ca: trustme.CA = CA, kind: trustme.KeyType = trustme.KeyType.ECDSA, days: int = 90
) -> None:
    """A new certificate and key in these files."""
    issued = ca.issue_cert(*names, key_type=kind, not_after=datetime.now(UTC) + timedelta(days=days))
    issued.private_key_pem.write_to_path(place.key)
    place.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))


@pytest.fixture
def files(tmp_path: Path) -> Tls:
    place = Tls(tmp_path / "gateway.pem", tmp_path / "gateway.key")
    issue(place, "localhost", "first.example")
    return place


def test_only_who_begins_goes_by_what_files_said_before(files: Tls) -> None:
    keep(server_tls, files)
    kept = begin_with(server_tls, files)
    files.certificate.write_text("half of")
    for _ in range(2):
        assert begin_with(server_tls, files) is not kept, "each process reads for itself while it can"
    (reason,) = begun()
    assert str(files.certificate) in reason
    with pytest.raises(OSError, match=re.escape(str(files.certificate))):
        begin_with(server_tls, files)
    assert begun() == []


async def connected(
    port: int, context: ssl.SSLContext, name: str = "localhost"
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)


async def call(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    writer.write(GET)
    return await reader.readuntil(b"\r\n\r\nok")


def shown(writer: asyncio.StreamWriter) -> set[str]:
    """Names in the certificate that the other side showed."""
    return {name for _, name in writer.get_extra_info("peercert")["subjectAltName"]}


@dataclass
class Renewable:
    """A TLS listener in front of a gateway, and what renews its certificate."""

    port: int
    certificates: Certificates


@pytest.fixture
async def tls(start: Start, upstream: Upstream, files: Tls) -> AsyncIterator[Renewable]:
    """In front of `upstream`, with the certificate in `files`."""
    running = await start(ONE_ROUTE % {"url": upstream.url}, listen=Listen("127.0.0.1", 0, files))
    certificates = Certificates()
    listener = build_listener(running.gateway, certificates)
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    await listener.start(sock)
    yield Renewable(port, certificates)
    await eventually(lambda: not listener.open_sockets)  # every test closes its own
    listener.stop_accepting()
    await listener.wait_closed(1.0)


async def test_callers_that_verify_are_served(tls: Renewable, upstream: Upstream) -> None:
    reader, writer = await connected(tls.port, trusting(CA))
    assert await call(reader, writer)
    assert ";proto=https;" in upstream.received[0].fields("Forwarded")[0]
    writer.close()


@pytest.mark.parametrize(("ca", "name"), [(trustme.CA(), "localhost"), (CA, "other.example")], ids=["issuer", "name"])
async def test_callers_that_cannot_verify_leave(tls: Renewable, upstream: Upstream, ca: trustme.CA, name: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        await connected(tls.port, trusting(ca), name)
    assert upstream.received == []


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("kind", list(trustme.KeyType))
async def test_new_handshakes_show_the_renewed_certificate_and_open_sockets_live_on(
    tls: Renewable, files: Tls, version: ssl.TLSVersion, kind: trustme.KeyType
) -> None:
    reader, writer = await connected(tls.port, trusting(CA, version))
    assert await call(reader, writer)
    assert "first.example" in shown(writer)

    issue(files, "localhost", "second.example", kind=kind)
    assert tls.certificates.reload() == 1
    newer = await connected(tls.port, trusting(CA, version))
    assert shown(newer[1]) == {"localhost", "second.example"}
    assert await call(*newer)
    assert await call(reader, writer)
    writer.close()
    newer[1].close()


async def test_callers_that_send_no_name_get_the_renewed_certificate_too(tls: Renewable, files: Tls) -> None:
    issue(files, "127.0.0.1")
    tls.certificates.reload()
    reader, writer = await connected(tls.port, trusting(CA), "127.0.0.1")
    assert await call(reader, writer)
    writer.close()


@pytest.mark.parametrize("damage", ["no certificate", "not a certificate", "another key"])
async def test_files_that_cannot_be_used_change_nothing(tls: Renewable, files: Tls, damage: str) -> None:
    if damage == "no certificate":
        files.certificate.unlink()
    elif damage == "not a certificate":
        files.certificate.write_text("hello")
    else:
        CA.issue_cert("localhost").private_key_pem.write_to_path(files.key)
    with pytest.raises(OSError):
        tls.certificates.reload()
    reader, writer = await connected(tls.port, trusting(CA))
    assert await call(reader, writer)
    writer.close()


def test_without_tls_there_is_nothing_to_renew() -> None:
    certificates = Certificates()
    assert certificates.context("calls", None) is None
    assert certificates.reload() == 0


def test_old_versions_of_tls_are_not_spoken(files: Tls) -> None:
    assert server_tls(files).minimum_version == ssl.TLSVersion.TLSv1_2


@contextlib.asynccontextmanager
async def process(folder: Path, files: Tls, port: int, admin: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """A gateway as people start it: two workers behind TLS, in front of the sample upstream; its log is on stdout."""
    settings = folder / "gateway.yaml"
    settings.write_text(
        f'version: 1\nlisten: {{address: "127.0.0.1:{port}", tls: {{certificate: {files.certificate}, key: {files.key}}}}}\n'
        f"admin: 127.0.0.1:{admin}\n"
        'webhooks: {targets: {ops: {url: "https://hooks.example/", secrets: ["env:HOOK"], events: [breaker.*], '
        f"ca_file: {folder / 'ca.pem'}}}}}}}\n"
    )
    CA.cert_pem.write_to_path(folder / "ca.pem")
    gateway = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "run", "-q", "-c", str(settings), "--workers", "2"),
        *("--upstream", "builtin:echo"),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "HOOK": f"whsec_{b64encode(b'k' * 24).decode()}"},
    )
    try:
        yield gateway
    finally:
        gateway.send_signal(signal.SIGINT)
        assert gateway.stdout is not None
        await gateway.stdout.read()
        await gateway.wait()


async def logged(gateway: asyncio.subprocess.Process, event: str, times: int) -> dict[str, Any]:
    """What the last worker has said, when every one has."""
    assert gateway.stdout is not None
    told: dict[str, Any] = {}
    while times:
        line = await gateway.stdout.readline()
        assert line, "the gateway has ended"
        told = json.loads(line)
        times -= told["event_name"] == event
    return told


async def ends(admin: int) -> set[int]:
    """What the metrics say of the callers' listener."""
    reader, writer = await asyncio.open_connection("127.0.0.1", admin)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    text = (await reader.read()).decode()
    writer.close()
    series = re.findall(r'gateway_certificate_end_timestamp_seconds\{certificate="(\w+)"\} (\S+)', text)
    assert {name for name, _ in series} == {"calls"}
    return {int(float(end)) for _, end in series}


def certificate_end(files: Tls) -> int:
    return int(x509.load_pem_x509_certificate(files.certificate.read_bytes()).not_valid_after_utc.timestamp())


async def test_sighup_renews_the_certificate_of_every_worker(files: Tls, tmp_path: Path) -> None:
    port, admin = free_port(), free_port()
    async with process(tmp_path, files, port, admin) as gateway:
        await logged(gateway, "gateway.ready", 2)
        first = [await connected(port, trusting(CA)) for _ in range(4)]
        assert await ends(admin) == {certificate_end(files)}
        issue(files, "localhost", "second.example", days=30)
        gateway.send_signal(signal.SIGHUP)
        told = await logged(gateway, "certificates.loaded", 2)
        assert told["count"] == 2, "the listener's, and the authority of webhooks"

        async def renewed() -> bool:
            return await ends(admin) == {certificate_end(files)}

        await eventually(renewed, "the metrics to say so, which are half a second old")
        second = [await connected(port, trusting(CA)) for _ in range(4)]
        assert all("first.example" in shown(writer) for _, writer in first)
        assert all("second.example" in shown(writer) for _, writer in second)
        for reader, writer in first + second:
            writer.write(GET)
            assert b" 200 " in await reader.readuntil(b"\r\n")
            writer.close()
        files.key.write_text("not a key")
        gateway.send_signal(signal.SIGHUP)
        told = await logged(gateway, "certificates.rejected", 2)
        assert told["reason"].startswith(f"certificate {files.certificate} with key {files.key}: ")
        issue(files, "localhost", "third.example")
        (tmp_path / "ca.pem").write_text("no certificate")
        gateway.send_signal(signal.SIGHUP)
        told = await logged(gateway, "certificates.rejected", 2)
        assert told["reason"].startswith(f"{tmp_path / 'ca.pem'}: ")
