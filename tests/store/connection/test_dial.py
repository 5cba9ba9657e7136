"""Ways to reach a server, and the contract with redis-py: what of it is used beyond its documented interface."""

import asyncio
import contextlib
from pathlib import Path

import pytest
import redis.asyncio.connection

from gateway.core.store_faults import is_lasting
from gateway.core.store_url import parse_url
from gateway.store import StoreDown
from gateway.store.connection import transports
from gateway.store.connection.dial import Dialer
from gateway.store.connection.link import pack

TLS = Path(__file__).parent / "tls"


class Heard(asyncio.Protocol):
    """What comes in over a taken-over connection."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.came = asyncio.Event()
        self.closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.came.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()

    async def ask(self, *command: str) -> bytes:
        """The bytes that come first after the command; enough for short replies."""
        self.received.clear()
        self.came.clear()
        self.transport.write(pack(command))
        await self.came.wait()
        return bytes(self.received)


@contextlib.asynccontextmanager
async def dialled(url: str):
    dialer, heard = Dialer(parse_url(url)), Heard()
    await dialer.connect(heard)
    try:
        yield heard
    finally:
        heard.transport.close()
        await heard.closed.wait()
        await dialer.close()


async def refusal(url: str) -> StoreDown:
    dialer = Dialer(parse_url(url))
    with pytest.raises(StoreDown) as caught:
        await dialer.connect(Heard())
    await dialer.close()
    return caught.value


def test_redis_py_still_has_what_is_taken_from_it():
    """When this fails, a new redis-py keeps its transport elsewhere: see `gateway/store/connection/dial.py`."""
    connection = redis.asyncio.connection.UnixDomainSocketConnection(path="/nowhere")
    assert connection._writer is None, "private: the StreamWriter, None while not connected"
    assert asyncio.StreamWriter.transport, "public: the transport of a StreamWriter"
    for kind in (redis.asyncio.connection.Connection, redis.asyncio.connection.SSLConnection):
        arguments = kind(host="store.example", port=1)._connection_arguments()
        assert {"host": "store.example", "port": 1}.items() <= arguments.items(), "private: for open_connection"


async def test_the_transport_is_handed_over(redis_url):
    async with dialled(redis_url) as heard:
        assert await heard.ask("PING") == b"+PONG\r\n"
        assert heard.transport.get_protocol() is heard


@pytest.mark.parametrize(("option", "first"), [("2", b"*"), ("3", b"%")])
async def test_both_versions_of_the_protocol(redis_url, option, first):
    async with dialled(f"{redis_url}?protocol={option}") as heard:
        assert (await heard.ask("HELLO"))[:1] == first


async def test_the_database_is_selected(redis_url):
    async with dialled(f"{redis_url}?db=3") as heard:
        assert b" db=3 " in await heard.ask("CLIENT", "INFO")


async def test_one_dialer_dials_again_and_again(redis_url):
    dialer = Dialer(parse_url(redis_url))
    for _ in range(3):
        heard = Heard()
        await dialer.connect(heard)
        assert await heard.ask("PING") == b"+PONG\r\n"
        heard.transport.abort()
        await heard.closed.wait()
    await dialer.close()


async def test_tcp_with_an_acl_user(start_redis_server, free_port):
    port = free_port()
    start_redis_server("--port", str(port), "--user", "gw", "on", ">s3cret", "~*", "+@all")
    async with dialled(f"redis://gw:s3cret@127.0.0.1:{port}/2") as heard:
        assert b" user=gw " in await heard.ask("CLIENT", "INFO")
    async with dialled(f"redis://gw:s3cret@127.0.0.1:{port}?protocol=3") as heard:
        assert b" user=gw " in await heard.ask("CLIENT", "INFO")


@pytest.mark.parametrize("protocol", ["2", "3"])
async def test_wrong_credentials(start_redis_server, protocol):
    server = start_redis_server("--requirepass", "right")
    fault = await refusal(f"unix://:wr0ng@{server.path}?protocol={protocol}")
    assert fault.kind == "connect"
    assert "wr0ng" not in str(fault)
    assert "wr0ng" not in repr(fault.__cause__) + repr(fault.__context__)


async def test_nobody_there(free_port):
    fault = await refusal(f"redis://127.0.0.1:{free_port()}")
    assert fault.kind == "connect"
    assert "127.0.0.1" in fault.detail
    assert (await refusal("unix:///nowhere/redis.sock")).kind == "connect"
    assert (await refusal("redis://no-such-host.invalid")).kind == "connect"


async def test_a_server_that_does_not_answer(own_redis_server, monkeypatch):
    monkeypatch.setattr(transports, "DIAL_TIMEOUT_S", 0.1)
    own_redis_server.freeze()
    fault = await refusal(own_redis_server.url)
    assert fault.kind == "connect"
    assert "no answer within 0.1 s" in fault.detail or "Timeout" in fault.detail


async def test_a_server_that_speaks_out_of_turn(serve_tcp):
    """What it says too much would be taken for the first reply, and shift every reply after it."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"+OK\r\n" * 9)

    port = await serve_tcp(talk)
    assert "not asked for" in (await refusal(f"redis://127.0.0.1:{port}")).detail


PROTECTED = (
    "DENIED It is in protected mode because that is enabled and there is no password. Only loopback may connect."
)
ADVICE = " If you want to connect from elsewhere, do one of the following: " + 20 * "1) Disable it. "


@pytest.mark.parametrize("url", ["redis://127.0.0.1:{}", "redis://127.0.0.1:{}/2", "redis://:pw@127.0.0.1:{}"])
async def test_a_server_in_protected_mode_is_heard(serve_tcp, url):
    """It says what is wrong before it is asked anything, at length, and hangs up."""

    async def deny(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"-{PROTECTED}{ADVICE}\r\n".encode())
        writer.close()

    fault = await refusal(url.format(await serve_tcp(deny)))
    assert fault.detail.startswith(PROTECTED)
    assert fault.detail.endswith(".")
    assert len(fault.detail) <= 200
    assert is_lasting(fault.detail)


async def test_tls(tls_port):
    async with dialled(f"rediss://localhost:{tls_port}?ssl_ca_certs={TLS / 'ca.pem'}") as heard:
        assert heard.transport.get_extra_info("cipher")
        for _ in range(10):
            assert await heard.ask("PING") == b"+PONG\r\n"


async def test_tls_that_cannot_be_trusted(tls_port):
    assert "CERTIFICATE_VERIFY_FAILED" in (await refusal(f"rediss://localhost:{tls_port}")).detail


@pytest.mark.parametrize("url", ["redis://localhost:{}", "redis://:pw@localhost:{}/2"])
async def test_a_server_that_wants_tls_is_asked_without(tls_port, url):
    fault = await refusal(url.format(tls_port))
    assert fault.detail.endswith(", does it want TLS (a URL that begins with rediss)?")


async def test_a_server_that_resets_connections(serve_tcp):
    """So does one whose system had the first command in hand when it hung up."""

    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.transport.abort()

    fault = await refusal(f"redis://127.0.0.1:{await serve_tcp(reset)}")
    assert "does it want TLS" in fault.detail


@pytest.mark.parametrize("option", ["ssl_ca_certs", "ssl_certfile"])
async def test_a_file_of_tls_that_is_not_there_is_named(tls_port, tmp_path, option):
    missing = tmp_path / "missing.pem"
    fault = await refusal(f"rediss://localhost:{tls_port}?{option}={missing}")
    assert fault.detail == f"{option} {missing}: No such file or directory"
