"""Why somebody changes something, for the record: a member of the order; where there is none, behind the `?`."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from gateway.admin.endpoint import Query, Schema
from gateway.admin.problems import AdminProblem
from gateway.core.grant import MAX_REASON_CHARS

REASON: Schema = {"type": "string", "minLength": 1, "maxLength": MAX_REASON_CHARS}
WHY = Query("reason", REASON, "Why, for the record.")
"""Of operations without a body."""


def read_reason(order: Mapping[str, Any]) -> str:
    """What is said, "" = nothing. Raises AdminProblem."""
    if "reason" not in order:
        return ""
    reason = order["reason"]
    if not isinstance(reason, str) or not 0 < len(reason.strip()) <= MAX_REASON_CHARS:
        raise AdminProblem(400, "BAD_ORDER", f"`reason` must be a text of at most {MAX_REASON_CHARS} characters.")
    return reason.strip()


def asked_why(request: web.Request) -> str:
    """The same of an operation without a body."""
    return read_reason(request.query)
