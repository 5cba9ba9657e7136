"""TLS towards upstreams: verified, always; what is configured is what is used."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from gateway.listener.tls import Certificates
from gateway.reload.certificates import reload_certificates
from tests.app.conftest import ONE_ROUTE, Start

GET = b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
CA = trustme.CA()
OTHER_CA = trustme.CA()
UP = '{url: "https://%s:%d", %s}'


@dataclass
class TlsUpstream:
    """Answers `ok` behind TLS, and notes what the handshakes were like."""

    port: int = 0
    names: list[str | None] = field(default_factory=list)
    clients: list[object] = field(default_factory=list)
    requests: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.clients.append(writer.get_extra_info("peercert"))
        await reader.readuntil(b"\r\n\r\n")
        self.requests += 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        await writer.drain()
        writer.close()


@asynccontextmanager
async def listening(ca: trustme.CA, *names: str, ask_client: bool = False) -> AsyncIterator[TlsUpstream]:
    """An upstream with a certificate of this CA for these names."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert(*names).configure_cert(context)
    if ask_client:
        CA.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    upstream = TlsUpstream()
    context.sni_callback = lambda _socket, name, _context: upstream.names.append(name)  # type: ignore[assignment]
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0, ssl=context)
    upstream.port = server.sockets[0].getsockname()[1]
    async with server:
        yield upstream


Ask = Callable[..., Awaitable[tuple[bytes, str]]]


@pytest.fixture
def ask(start: Start, tmp_path: Path) -> Ask:
    """One call to an upstream at that host and port: the answer, and the error in its record. CA_FILE is CA's."""
    ca_file = tmp_path / "ca.pem"
    CA.cert_pem.write_to_path(ca_file)

    async def call(host: str, port: int, options: str) -> tuple[bytes, str]:
        text = ONE_ROUTE.replace('{url: "%(url)s"}', UP % (host, port, options.replace("CA_FILE", str(ca_file))))
        gateway = await start(text)
        answer = await gateway.raw(GET)
        return answer, (await gateway.records.wait(1))[0].error_detail

    return call


def answer_until_the_end(listener: socket.socket, *, says_so: bool) -> None:
    """One call gets an answer that only the end of the socket ends; over TLS that is said, or not."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    CA.issue_cert("localhost").configure_cert(context)
    with context.wrap_socket(listener.accept()[0], server_side=True) as tls:
        tls.recv(65_536)
        tls.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"\xfe" * 100_000)
        if says_so:
            tls.unwrap()


@pytest.mark.parametrize("says_so", [True, False], ids=["close_notify", "cut"])
async def test_an_answer_is_whole_only_if_its_end_is_the_upstreams_doing(ask: Ask, says_so: bool) -> None:
    """RFC 9112 §9.8: whoever sits between can end a socket, but not say so."""
    with socket.create_server(("localhost", 0)) as listener:
        answering = asyncio.to_thread(answer_until_the_end, listener, says_so=says_so)
        (answer, error), _ = await asyncio.gather(
            ask("localhost", listener.getsockname()[1], 'tls: {ca_file: "CA_FILE"}'), answering
        )
    assert answer.count(b"\xfe") == 100_000, "what came is passed on in any case"
    assert (answer.endswith(b"\r\n0\r\n\r\n"), error) == (says_so, "" if says_so else "response body closed")


def refused(answer: bytes) -> bool:
    return (
        answer.startswith(b"HTTP/1.1 502 ")
        and b'"code":"UPSTREAM_TLS"' in answer
        and b"error=tls_certificate_error" in answer
    )


async def test_a_certificate_of_an_unknown_issuer_is_refused(ask: Ask) -> None:
    async with listening(CA, "localhost") as upstream:
        answer, detail = await ask("localhost", upstream.port, "")
    assert refused(answer)
    assert "unable to get local issuer certificate" in detail
    assert upstream.requests == 0


async def test_a_certificate_of_the_own_ca_is_accepted_and_the_name_is_sent(ask: Ask) -> None:
    async with listening(CA, "localhost") as upstream:
        answer, _ = await ask("localhost", upstream.port, 'tls: {ca_file: "CA_FILE"}')
    assert answer.endswith(b"\r\n\r\nok")
    assert upstream.names == ["localhost"]
    assert upstream.clients == [{}] or upstream.clients == [None]


async def test_the_own_ca_is_the_only_one(ask: Ask) -> None:
    async with listening(OTHER_CA, "localhost") as upstream:
        answer, _ = await ask("localhost", upstream.port, 'tls: {ca_file: "CA_FILE"}')
    assert refused(answer)
    assert upstream.requests == 0


@pytest.mark.parametrize(("host", "name"), [("localhost", "other.example"), ("127.0.0.1", "127.0.0.2")])
async def test_a_certificate_for_another_host_is_refused(ask: Ask, host: str, name: str) -> None:
    async with listening(CA, name) as upstream:
        answer, detail = await ask(host, upstream.port, 'tls: {ca_file: "CA_FILE"}')
    assert refused(answer)
    assert "certificate is not valid for" in detail
    assert upstream.requests == 0


async def test_an_address_is_verified_as_an_address(ask: Ask) -> None:
    async with listening(CA, "127.0.0.1") as upstream:
        answer, _ = await ask("127.0.0.1", upstream.port, 'tls: {ca_file: "CA_FILE"}')
    assert answer.endswith(b"\r\n\r\nok")
    assert upstream.names == [None]


async def test_another_name_to_expect(ask: Ask) -> None:
    async with listening(CA, "api.example") as upstream:
        answer, _ = await ask("127.0.0.1", upstream.port, 'tls: {ca_file: "CA_FILE", server_name: api.example}')
    assert answer.endswith(b"\r\n\r\nok")
    assert upstream.names == ["api.example"]


async def test_the_client_certificate_is_presented_when_asked_for(ask: Ask, tmp_path: Path) -> None:
    own = CA.issue_cert("gateway.example")
    own.private_key_and_cert_chain_pem.write_to_path(tmp_path / "own.pem")
    options = 'tls: {ca_file: "CA_FILE", certificate: "%s", key: "%s"}' % ((tmp_path / "own.pem",) * 2)
    async with listening(CA, "localhost", ask_client=True) as upstream:
        answer, _ = await ask("localhost", upstream.port, options)
    assert answer.endswith(b"\r\n\r\nok")
    assert ("DNS", "gateway.example") in upstream.clients[0]["subjectAltName"]  # type: ignore[index]


async def test_a_renewed_client_certificate_is_presented_and_a_bad_one_changes_nothing(
    start: Start, tmp_path: Path
) -> None:
    file, ca_file = tmp_path / "own.pem", tmp_path / "ca.pem"
    CA.cert_pem.write_to_path(ca_file)
    CA.issue_cert("first.example").private_key_and_cert_chain_pem.write_to_path(file)
    options = f'tls: {{ca_file: "{ca_file}", certificate: "{file}", key: "{file}"}}'
    async with listening(CA, "localhost", ask_client=True) as upstream:
        gateway = await start(ONE_ROUTE.replace('{url: "%(url)s"}', UP % ("localhost", upstream.port, options)))
        upstreams, ours = gateway.gateway.upstreams, Certificates()

        async def shown() -> object:
            assert (await gateway.raw(GET)).endswith(b"ok")
            return upstream.clients[-1]["subjectAltName"]  # type: ignore[index]

        assert await shown() == (("DNS", "first.example"),)
        first = upstreams.certificates_end_s()
        assert list(first) == ["upstream:up"]
        own = CA.issue_cert("second.example", not_after=datetime.now(UTC) + timedelta(days=9))
        own.private_key_and_cert_chain_pem.write_to_path(file)
        reload_certificates(ours, [upstreams])
        assert await shown() == (("DNS", "second.example"),)
        second = upstreams.certificates_end_s()
        assert second["upstream:up"] < first["upstream:up"]
        file.write_text("no certificate")
        reload_certificates(ours, [upstreams])
        assert await shown() == (("DNS", "second.example"),)
        assert upstreams.certificates_end_s() == second


async def test_without_a_client_certificate_an_upstream_that_wants_one_is_not_reached(ask: Ask) -> None:
    async with listening(CA, "localhost", ask_client=True) as upstream:
        answer, _ = await ask("localhost", upstream.port, 'tls: {ca_file: "CA_FILE"}')
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert upstream.requests == 0


async def test_plain_text_behind_https_is_a_protocol_error(ask: Ask) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        answer, _ = await ask("localhost", server.sockets[0].getsockname()[1], "")
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert b"error=tls_protocol_error" in answer


async def test_silence_behind_https_is_not_taken_for_an_upstream_that_cannot_be_reached(ask: Ask) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        answer, detail = await ask("localhost", silent.getsockname()[1], "timeouts: {connect: 1s}")
    assert answer.startswith(b"HTTP/1.1 504 ")
    assert detail == "connect_timeout: no TLS handshake within 1000 ms"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_private_addresses_are_refused_where_they_are_not_allowed(ask: Ask, host: str) -> None:
    async with listening(CA, host) as upstream:
        answer, detail = await ask(host, upstream.port, 'allow_private: false, tls: {ca_file: "CA_FILE"}')
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert b'"code":"UPSTREAM_DNS"' in answer
    assert "private" in detail
    assert upstream.names == []
