"""The admin API described for machines: OpenAPI 3.1, made from the table that the router is made from."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from aiohttp import web

from gateway import __version__
from gateway.admin.endpoint import Endpoint, Schema
from gateway.admin.problems import answer
from gateway.admin.view import AdminView

Document = dict[str, Any]
PROBLEM: Schema = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"const": "about:blank"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "pattern": "^[A-Z_]+$"},
    },
}
EVERYWHERE = (400, 401, 421, 429)
"""Problems that any operation can have. A 500 is a mistake of ours, not part of what is described."""
MUTATIONS = (403, 408, 413, 415)
TITLES = {
    400: "The request or its body is malformed.",
    401: "No token, or not the right one.",
    403: "A page of another site asked for a change, or who may only look.",
    404: "There is no such thing.",
    408: "The body has not come in time.",
    409: "Not possible in the current state; `detail` says why.",
    413: "The body is too large.",
    415: "The body is of another media type, or compressed.",
    421: "`Host` is not a name of this host, and there is no token.",
    422: "The policy files have errors.",
    429: "Too many requests at once.",
    503: "The store does not answer, or there is no room.",
}


def openapi(endpoints: Sequence[Endpoint]) -> Document:
    """The OpenAPI 3.1 document of all operations."""
    paths: dict[str, Document] = {}
    for endpoint in endpoints:
        operations = paths.setdefault(endpoint.path, {})
        operations[endpoint.method.lower()] = _operation(endpoint)
        if endpoint.method == "GET" and endpoint.content != "text/event-stream":
            operations["head"] = _operation(endpoint, head=True)
    for path, operations in paths.items():
        names = re.findall(r"\{(\w+)\}", path)
        if names:
            operations["parameters"] = [_segment(name) for name in names]
    return {
        "openapi": "3.1.0",
        "info": {"title": "Rate-limit gateway: admin API", "version": __version__},
        "security": [{"token": []}, {}],
        "paths": paths,
        "components": {
            "schemas": {"Problem": PROBLEM},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(endpoint: Endpoint, *, head: bool = False) -> Document:
    method = "head" if head else endpoint.method.lower()
    words = re.findall(r"\w+", endpoint.path)
    operation: Document = {
        "operationId": "_".join([method, *words]),
        "summary": endpoint.about,
        "responses": _responses(endpoint, head=head),
    }
    if endpoint.query:
        operation["parameters"] = [
            {"name": one.name, "in": "query", "schema": one.schema, "description": one.about} for one in endpoint.query
        ]
    if endpoint.body is not None:
        content = {endpoint.body.content: {"schema": endpoint.body.schema, "example": endpoint.body.example}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _responses(endpoint: Endpoint, *, head: bool) -> Document:
    responses: Document = {}
    for status, schema in endpoint.answers.items():
        content = {} if head else {"content": {endpoint.content: {"schema": schema}}}
        responses[str(status)] = {"description": "The answer." if status < 400 else "Not now.", **content}
    changes = endpoint.method != "GET"
    for status in sorted({*EVERYWHERE, *(MUTATIONS if changes else ()), *endpoint.errors}):
        content = {} if head else {"content": {"application/problem+json": {"schema": _PROBLEM_REF}}}
        responses.setdefault(str(status), {"description": TITLES[status], **content})
    return responses


_PROBLEM_REF: Mapping[str, str] = {"$ref": "#/components/schemas/Problem"}


def _segment(name: str) -> Document:
    about = "Values of the key parts in their order, each percent-encoded by itself, joined by `/`."
    more = {"description": about} if name == "key" else {}
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}, **more}


def openapi_endpoint(endpoints: Sequence[Endpoint]) -> Endpoint:
    """The operation that answers with the description of all, itself included."""
    described: list[bytes] = []

    async def describe(_view: AdminView, _request: web.Request) -> web.StreamResponse:
        return answer(orjson.loads(described[0]))

    itself = Endpoint("GET", "/-/openapi.json", describe, "This API for machines: OpenAPI 3.1.")
    described.append(orjson.dumps(openapi([*endpoints, itself])))
    return itself
