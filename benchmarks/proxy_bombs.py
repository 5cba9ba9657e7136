"""A compression bomb through one worker: `python -m benchmarks.proxy_bombs [--small]`.

10 MiB of gzip that unpack to 10 GiB (`--small`: a tenth), as a request's body and as an answer's, with a length and in
chunks. Every byte has to arrive as it was sent, and the gateway must not grow: it has no business unpacking anything.
"""

import argparse
import asyncio
import hashlib
import struct
import zlib
from collections.abc import AsyncIterator
from functools import partial

from benchmarks.proxy_process import MIB, Gateway, request

SEGMENT = bytes(16 * MIB)
BOUND = 32 * MIB
FRAMINGS = ("sized", "chunked")


def bomb(size: int) -> bytes:
    """One gzip member (RFC 1952) that unpacks to `size` zeros, a multiple of 16 MiB.

    Behind a full flush the compressor knows nothing of what came before, so that one segment may stand many times
    (RFC 1951 §2): this takes seconds where compressing 10 GiB would take half a minute.
    """
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    segment = compressor.compress(SEGMENT) + compressor.flush(zlib.Z_FULL_FLUSH)
    count, checksum = size // len(SEGMENT), 0
    for _ in range(count):
        checksum = zlib.crc32(SEGMENT, checksum)
    head = b"\x1f\x8b\x08" + bytes(6) + b"\xff"
    return head + segment * count + compressor.flush() + struct.pack("<II", checksum, size % 2**32)


def unpacked_size(data: bytes) -> int:
    """What a gzip member unpacks to. Raises ValueError or zlib.error when it is not one whole member."""
    unpacker, size = zlib.decompressobj(16 + zlib.MAX_WBITS), 0
    while data:
        size += len(unpacker.decompress(data, 4 * MIB))
        data = unpacker.unconsumed_tail
    size += len(unpacker.flush())
    if not unpacker.eof:
        raise ValueError("the member is not whole")
    return size


def message(head: str, body: bytes, framing: str) -> bytes:
    """A whole message; chunks are of an odd size, so that no border of theirs is one of ours."""
    if framing == "sized":
        return f"{head}Content-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    pieces = (body[at : at + 49_999] for at in range(0, len(body), 49_999))
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return f"{head}Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + chunks + b"0\r\n\r\n"


async def body_of(head: bytes, reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The payload behind a head, whatever its framing."""
    if b"chunked" in head:
        while size := int(await reader.readuntil(b"\r\n"), 16):
            yield (await reader.readexactly(size + 2))[:-2]
        await reader.readexactly(2)
        return
    left = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    while left:
        piece = await reader.read(min(left, MIB))
        if not piece:
            raise ConnectionResetError
        left -= len(piece)
        yield piece


async def digest_of(head: bytes, reader: asyncio.StreamReader) -> str:
    digest = hashlib.sha256()
    async for piece in body_of(head, reader):
        digest.update(piece)
    return digest.hexdigest()


async def upstream(data: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """`GET /sized` and `GET /chunked` give the bomb; a POST is answered with the digest and coding of what arrived."""
    head = await reader.readuntil(b"\r\n\r\n")
    if head.startswith(b"GET"):
        framing = head.split(b" ", 2)[1].decode().strip("/")
        writer.write(message("HTTP/1.1 200 OK\r\nConnection: close\r\n", data, framing))
    else:
        got = await digest_of(head, reader) if b"\r\nContent-Encoding: gzip\r\n" in head else "the coding is gone"
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(got)}\r\nConnection: close\r\n\r\n{got}".encode())
    await writer.drain()
    writer.close()


async def download(gateway: Gateway, framing: str) -> str:
    """The digest of what came, for a caller that has not said that it takes gzip."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=MIB)
    writer.write(request(f"/{framing}"))
    head = await reader.readuntil(b"\r\n\r\n")
    got = await digest_of(head, reader) if b"\r\nContent-Encoding: gzip\r\n" in head else "the coding is gone"
    writer.close()
    return got


async def upload(gateway: Gateway, framing: str, data: bytes) -> str:
    """The digest of what reached the upstream."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(message("POST / HTTP/1.1\r\nHost: a\r\n", data, framing))
    await writer.drain()
    await reader.readuntil(b"\r\n\r\n")
    got = await reader.readexactly(64)
    writer.close()
    return got.decode()


async def measure(size: int) -> bool:
    """Whether both directions, in both framings, left every byte as it was and the gateway small."""
    data = bomb(size)
    sent, good = hashlib.sha256(data).hexdigest(), True
    server = await asyncio.start_server(partial(upstream, data), "127.0.0.1", 0, limit=MIB)
    async with server, Gateway(server.sockets[0].getsockname()[1]) as gateway:
        await upload(gateway, "sized", bomb(len(SEGMENT)))
        before, cpu = gateway.rss_bytes(), gateway.cpu_s()
        for framing in FRAMINGS:
            same = await upload(gateway, framing, data) == sent, await download(gateway, framing) == sent
            growth = gateway.rss_bytes("VmHWM") - before
            good = good and all(same) and growth <= BOUND
            print(
                f"{len(data) / MIB:.1f} MiB of gzip for {size / MIB:.0f} MiB, {framing:7}: same up and down {same}, "
                f"RSS +{growth / MIB:.1f} MiB (bound {BOUND / MIB:.0f}), CPU so far {gateway.cpu_s() - cpu:.2f} s"
            )
    return good


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true")
    size = 10 * 1024 * MIB // (10 if parser.parse_args().small else 1)
    print(f"The bomb is real: {unpacked_size(bomb(64 * MIB)) // MIB} of 64 MiB come out of its like")
    raise SystemExit(0 if asyncio.run(measure(size)) else 1)
