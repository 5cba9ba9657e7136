"""What is sent along with a request, taken before the request gets a place (`bulkhead`).

Who sends slowly, or never ends what was begun, keeps nobody else waiting.
"""

import asyncio

from aiohttp import hdrs, web

from gateway.admin.problems import AdminProblem
from gateway.policy.files import MAX_FILE_BYTES
from gateway.wire.head import Malformed

MAX_BODY_BYTES = 64 * 1024
BODY_S = 30.0
CHECK = "/-/policy/check"
_BODY = web.RequestKey("body", bytes)


def body_of(request: web.Request) -> bytes:
    """The whole of it, as it was sent."""
    return request[_BODY]


async def take_body(request: web.Request) -> None:
    """Wait until all of it is here, for `body_of`. Raises AdminProblem."""
    if request.headers.get(hdrs.CONTENT_ENCODING, "identity") != "identity":
        raise AdminProblem(415, "PLAIN_BODY_REQUIRED", "Send the body as it is, without Content-Encoding.")
    most, body = most_body_bytes(request.path), bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            while piece := await request.content.readany():
                body += piece
                if len(body) > most:
                    raise too_large(request.path)
    except TimeoutError:
        raise AdminProblem(408, "BODY_TIMEOUT", f"The body has not come within {BODY_S:.0f} s.") from None
    except (ConnectionError, web.RequestPayloadError, Malformed):  # nobody may be there to read this
        raise AdminProblem(400, "BAD_REQUEST", "The body breaks off.") from None
    request[_BODY] = bytes(body)


def most_body_bytes(path: str) -> int:
    """How long a body may be. Policy files are longer than orders."""
    return MAX_FILE_BYTES if path == CHECK else MAX_BODY_BYTES


def too_large(path: str) -> AdminProblem:
    """The problem 413 for a body longer than `most_body_bytes`."""
    return AdminProblem(413, "CONTENT_TOO_LARGE", f"A body may have at most {most_body_bytes(path):,} bytes here.")
