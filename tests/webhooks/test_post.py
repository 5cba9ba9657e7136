"""One try to deliver: signed, to where it may go, and nowhere else."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_network
from pathlib import Path

import pytest
import trustme
from aiohttp import abc

from gateway.core.webhooks.receivers import Receiver as Whom
from gateway.core.webhooks.signatures import signed
from gateway.modules.delivery.post import Post
from tests.fakes.ports import free_port
from tests.fakes.receiver import Receiver
from tests.fakes.tls_front import TlsFronts

KEYS = (b"k" * 24, b"o" * 24)
LOOPBACK = (ip_network("127.0.0.0/8"),)
Make = Callable[..., Post]


class Names(abc.AbstractResolver):
    """Says that every name leads to these addresses."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[abc.ResolveResult]:
        return [
            abc.ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0)
            for address in self.addresses
        ]

    async def close(self) -> None:
        pass


@pytest.fixture
async def post() -> AsyncIterator[Make]:
    made: list[Post] = []

    def make(url: str, *names: str, **more: object) -> Post:
        whom = Whom("ops", url, KEYS, **{"allowed": LOOPBACK, "timeout_us": 20_000_000, **more})  # type: ignore[arg-type]
        made.append(Post(whom, Names(*names) if names else None))
        return made[-1]

    yield make
    for one in made:
        await one.close()


async def test_it_arrives_signed_with_both_keys(post: Make, receiver: Receiver) -> None:
    tried = await post(receiver.url).deliver("evt_1", b'{"a":1}', {"Content-Type": "application/json"})
    assert (tried.status, tried.good) == (204, True)
    (got,) = receiver.got
    assert (got.path, got.body, got.headers["Content-Type"]) == ("/hook", b'{"a":1}', "application/json")
    at, signatures = got.headers["webhook-timestamp"], got.headers["webhook-signature"]
    assert len(signatures.split(" ")) == 2
    for key in KEYS:
        assert signed([key], "evt_1", at, got.body, signatures)


async def test_an_authority_is_believed_from_when_its_file_is_read_again(
    post: Make, receiver: Receiver, tmp_path: Path
) -> None:
    ca, file = trustme.CA(), tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(file)
    async with TlsFronts(ca) as fronts:
        url = f"https://127.0.0.1:{await fronts.open(receiver.port)}/hook"
        to_it = post(url, ca_file=str(file))
        untrusted = "tls: unable to get local issuer certificate"
        assert (await to_it.deliver("evt_1", b"", {})).error == untrusted
        ca.cert_pem.write_to_path(file)
        (use,) = to_it.read_certificates()
        assert (await to_it.deliver("evt_1", b"", {})).error == untrusted, "not yet"
        use()
        assert (await to_it.deliver("evt_1", b"", {})).status == 204
        assert post(url).read_certificates() == [], "the system's own are not read again"


async def test_who_speaks_no_tls_is_told_from_who_is_not_trusted(post: Make, receiver: Receiver) -> None:
    to_it = post(receiver.url.replace("http:", "https:"))
    assert (await to_it.deliver("evt_1", b"", {})).error == "tls: wrong version number"


async def test_a_redirect_is_not_followed(post: Make, receiver: Receiver) -> None:
    receiver.answer = lambda _got: 302
    receiver.fields = {"Location": f"http://127.0.0.1:{receiver.port}/canary"}
    tried = await post(receiver.url).deliver("1", b"", {})
    assert (tried.status, tried.good) == (302, False)
    assert [got.path for got in receiver.got] == ["/hook"]


async def test_how_long_a_receiver_wants_to_be_left_alone(post: Make, receiver: Receiver) -> None:
    receiver.answer, receiver.fields = lambda _got: 503, {"Retry-After": "7"}
    assert (await post(receiver.url).deliver("1", b"", {})).asked_us == 7_000_000
    receiver.fields = {"Retry-After": "soon"}
    assert (await post(receiver.url).deliver("1", b"", {})).asked_us == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "0.0.0.0"])
async def test_what_is_not_public_is_not_connected_to(post: Make, receiver: Receiver, host: str) -> None:
    tried = await post(f"http://{host}:{receiver.port}/", allowed=()).deliver("1", b"", {})
    assert tried.error in ("address_not_allowed", "dns", "bad_url")
    assert not receiver.got


async def test_a_name_that_leads_inside_is_not_followed(post: Make, receiver: Receiver) -> None:
    tried = await post(f"http://hooks.example:{receiver.port}/", "127.0.0.1", allowed=()).deliver("1", b"", {})
    assert tried.error == "address_not_allowed"
    assert not receiver.got


async def test_inside_is_allowed_where_the_settings_say_so(post: Make, receiver: Receiver) -> None:
    tried = await post(f"http://hooks.example:{receiver.port}/hook", "127.0.0.1").deliver("1", b"", {})
    assert tried.good
    tried = await post(receiver.url, allowed=(), anywhere=True).deliver("2", b"", {})
    assert tried.good


async def test_nobody_there(post: Make) -> None:
    tried = await post(f"http://127.0.0.1:{free_port()}/").deliver("1", b"", {})
    assert (tried.status, tried.error, tried.good) == (0, "refused", False)


async def test_no_answer_in_time(post: Make, receiver: Receiver) -> None:
    receiver.answer = lambda _got: None
    tried = await post(receiver.url, timeout_us=50_000).deliver("1", b"", {})
    assert tried.error == "timeout"
    assert tried.took_us >= 50_000


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 2", b"SSH-2.0-x\r\n\r\n", b"\x00" * 100_000])
async def test_what_is_no_answer(post: Make, said: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    tried = await post(f"http://127.0.0.1:{port}/").deliver("1", b"", {})
    assert tried.error in ("closed", "malformed", "reset")
    server.close()


async def test_an_answer_without_end_is_not_read(post: Make) -> None:
    gone = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
        try:
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()
        except OSError:
            gone.set()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert (await post(f"http://127.0.0.1:{port}/").deliver("1", b"", {})).good
    await gone.wait()
    server.close()
