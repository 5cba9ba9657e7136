"""Errors of the admin listener as problem+json (RFC 9457)."""

from collections.abc import Mapping
from http import HTTPStatus

import orjson
from aiohttp import web

from gateway.observe.log.text import readable
from gateway.store import StoreDown


class AdminProblem(Exception):
    """A request that cannot be served. `detail` is a sentence for the operator; it may quote the request."""

    def __init__(self, status: int, code: str, detail: str, fields: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.fields = fields or {}

    def response(self) -> web.Response:
        """The problem as an answer: `application/problem+json` (RFC 9457)."""
        document = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": readable(self.detail),
            "code": self.code,
        }
        body = orjson.dumps(document)
        return web.Response(body=body, status=self.status, content_type="application/problem+json", headers=self.fields)


def unavailable(down: StoreDown) -> AdminProblem:
    """The problem 503 for a store that did not answer, or could not do what it was asked to."""
    told = down.kind in ("script", "other") and down.detail.rstrip(".")  # else it said nothing
    why = f"cannot do it: {told}" if told else f"does not answer ({down.kind})"
    return AdminProblem(503, "STORE_UNAVAILABLE", f"The store {why}.", {"Retry-After": "1"})


def answer(document: object, status: int = 200) -> web.Response:
    """A JSON answer."""
    body = orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)
    return web.Response(body=body, status=status, content_type="application/json")
