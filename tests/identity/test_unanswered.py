"""Why a server gave no answer, as operators are told."""

import asyncio
import ssl

import aiohttp
import pytest
import trustme

from gateway.unanswered import why_unanswered
from tests.fakes.serving import serving
from tests.fakes.tls_front import TlsFronts


async def why(url: str) -> str:
    async with aiohttp.ClientSession() as session:
        try:
            async with session.post(url, data=b"s3cr3t", ssl=ssl.create_default_context()) as answer:
                await answer.read()
        except (aiohttp.ClientError, OSError) as error:
            return why_unanswered(error)
    return ""


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"", "it closed the connection"),
        (b"s3cr3t\r\n\r\n", "its answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ns3cr3t", "its answer ended too early"),
    ],
)
async def test_answers_that_are_none(said: bytes, words: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(6)
        writer.write(said)

    async with serving(answer) as port:
        assert await why(f"http://127.0.0.1:{port}/") == words
    assert await why(f"http://127.0.0.1:{port}/") == "no connection"


async def test_names_and_certificates() -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serving(plain) as port, TlsFronts(trustme.CA()) as fronts:
        assert await why(f"https://127.0.0.1:{port}/") == "no TLS handshake: wrong version number"
        said = await why(f"https://127.0.0.1:{await fronts.open(port)}/")
        assert said == "its certificate cannot be trusted: unable to get local issuer certificate"
    assert await why("http://nobody.invalid/") == "its name cannot be resolved"
    assert why_unanswered(ValueError("s3cr3t")) == "ValueError"
