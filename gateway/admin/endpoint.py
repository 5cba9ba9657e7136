"""One operation of the admin API, declared once: the router, the OpenAPI document and the tests of the docs read it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

import orjson
from aiohttp import hdrs, web

from gateway.admin.bodies import body_of
from gateway.admin.bulkhead import PROBES
from gateway.admin.problems import AdminProblem
from gateway.admin.view import AdminView

Schema = Mapping[str, Any]
Handler = Callable[[AdminView, web.Request], Awaitable[web.StreamResponse]]

API = "/-/"
"""What paths of operations begin with. Those of pages do not, nor of what probes and scrapers ask."""
OBJECT: Schema = {"type": "object"}
JSON = "application/json"
MOST_QUOTED = 64
NOTHING_SAID = (b"", b"{}")
"""Bodies of orders that have none; some clients send an empty object with every POST."""
STALLED_S = 15.0
"""Who takes nothing of a stream of events for so long is cut."""


class Query(NamedTuple):
    """A parameter behind the `?`. Others are refused, see `strict`."""

    name: str
    schema: Schema
    about: str


class Body(NamedTuple):
    """The request body of an operation: its JSON Schema, an example, its media type."""

    schema: Schema
    example: Any
    content: str = JSON


class Endpoint(NamedTuple):
    """One operation. A GET also answers HEAD.

    path     `{name}` is one segment; `{key}` any number of them
    about    one sentence for people, as `docs/admin-api.md` has it
    answers  JSON Schema of the document by status
    content  media type of what is answered
    errors   statuses of problems of its own, besides those that every operation can have
    reads    whether it changes nothing, although its method is none that says so
    """

    method: str
    path: str
    handler: Handler
    about: str
    query: tuple[Query, ...] = ()
    body: Body | None = None
    answers: Mapping[int, Schema] = {200: OBJECT}
    content: str = JSON
    errors: tuple[int, ...] = ()
    reads: bool = False


def strict(endpoint: Endpoint) -> Handler:
    """The operation's handler behind a look at the parameters, and at a body that it does not read: what was written
    there was meant to say something, such as whose answers are forgotten. Probes and scrapers send what they like."""
    if endpoint.path in PROBES or not endpoint.path.startswith(API):
        return endpoint.handler
    known = [one.name for one in endpoint.query]

    async def checked(view: AdminView, request: web.Request) -> web.StreamResponse:
        for name in request.query:
            if name not in known:
                others = "; there are: " + ", ".join(known) if known else ""
                raise AdminProblem(400, "BAD_QUESTION", f"There is no parameter {name[:MOST_QUOTED]!r} here{others}.")
        if endpoint.body is None and endpoint.method != hdrs.METH_GET and body_of(request).strip() not in NOTHING_SAID:
            behind = f": say it behind the `?` ({', '.join(known)})" if known else ""
            raise AdminProblem(400, "BAD_ORDER", f"No body is read here{behind}.")
        return await endpoint.handler(view, request)

    return checked


def read_order(request: web.Request, wanted: str) -> dict[str, Any]:
    """The JSON object that was sent. `wanted` is one for people. Raises AdminProblem."""
    if request.content_type != JSON:
        raise AdminProblem(415, "JSON_REQUIRED", "Send the body as application/json.")
    try:
        document = orjson.loads(body_of(request))
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise AdminProblem(400, "BAD_ORDER", f"The body must be an object like {wanted}.")
    return document


def check_members(order: Mapping[str, Any], needed: set[str], optional: set[str], wanted: str) -> None:
    """Raise AdminProblem unless the order has these members and no others."""
    if not needed <= order.keys() <= needed | optional:
        raise AdminProblem(400, "BAD_ORDER", f"The body must be an object like {wanted}.")


def segments(request: web.Request, behind: str) -> list[str]:
    """What the raw path says behind `behind`, segment by segment, not decoded yet. Raises AdminProblem.

    Once a path is decoded, `%2F` inside a value looks like a border between two.
    """
    path = request.raw_path.partition("?")[0]
    if not path.startswith(behind):
        raise AdminProblem(400, "BAD_REQUEST", "The request target must be a plain path.")
    return path.removeprefix(behind).split("/")


async def stream_events(
    request: web.Request, write: Callable[[web.StreamResponse], Awaitable[None]]
) -> web.StreamResponse:
    """Answer with the Server-Sent Events that `write` writes, until whoever asked goes; who does not read is cut."""
    response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: "text/event-stream", "X-Accel-Buffering": "no"})
    try:
        await response.prepare(request)
        await write(response)
    except (TimeoutError, ConnectionError):
        if request.transport is not None:
            request.transport.abort()
    return response


def unchanged(request: web.Request, tag: str) -> web.Response | None:
    """304 for whoever has this version already (RFC 9110 §13.1.2); None when it has to be sent."""
    known = {one.strip().removeprefix("W/") for one in request.headers.get(hdrs.IF_NONE_MATCH, "").split(",")}
    return web.Response(status=304, headers={hdrs.ETAG: f'"{tag}"'}) if known & {f'"{tag}"', "*"} else None


def tagged(response: web.Response, tag: str) -> web.Response:
    """The answer, with the version that it has."""
    response.headers[hdrs.ETAG] = f'"{tag}"'
    return response
