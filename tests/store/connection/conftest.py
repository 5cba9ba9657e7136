"""What tests of connections share."""

import asyncio
import ssl
from pathlib import Path

import pytest

TLS = Path(__file__).parent / "tls"


@pytest.fixture
async def tls_port(redis_server, serve_tcp):
    """A TLS end in front of the shared server: not every build of a server has TLS."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
        writer.close()
        await writer.wait_closed()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_unix_connection(str(redis_server.path))
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(TLS / "server.pem")
    return await serve_tcp(forward, ssl=context)
