"""What is in force: the policy set, the settings, the schema of policies; and what a candidate would change."""

import asyncio
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from gateway.admin.bodies import body_of
from gateway.admin.endpoint import OBJECT, Body, Endpoint, Schema, tagged, unchanged
from gateway.admin.operations.describe import config_document, limit_documents, policy_document
from gateway.admin.problems import AdminProblem, answer
from gateway.admin.view import AdminView
from gateway.core.policy import PolicySet
from gateway.core.preview.policy_diff import diff
from gateway.policy import check
from gateway.policy.schema import policy_schema

YAML = ("application/yaml", "application/x-yaml", "text/yaml")
CANDIDATE = "policy.yaml"
_one_at_a_time = asyncio.Semaphore(1)
"""Reading YAML takes a worker's processor away from calls: nobody gets more of it by asking more often."""


async def policy(view: AdminView, request: web.Request) -> web.StreamResponse:
    """`GET /-/policy`: the loaded policy set."""
    version = view.policies.version
    return unchanged(request, version) or tagged(answer(policy_document(view.policies)), version)


async def config(view: AdminView, _request: web.Request) -> web.StreamResponse:
    """`GET /-/config`: every setting in force, secrets masked."""
    return answer(config_document(view.settings))


async def limits(view: AdminView, _request: web.Request) -> web.StreamResponse:
    """`GET /-/limits`: the limits of the loaded set."""
    return answer({"limits": limit_documents(view.policies)})


async def schema(_view: AdminView, request: web.Request) -> web.StreamResponse:
    """`GET /-/schema/policies.json`: the JSON Schema of policy files, for editors."""
    document, tag = _schema()
    response = unchanged(request, tag) or web.Response(body=document, content_type="application/schema+json")
    return tagged(response, tag)


@cache
def _schema() -> tuple[bytes, str]:
    document = orjson.dumps(policy_schema(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    return document, blake2b(document, digest_size=8).hexdigest()


async def candidate(view: AdminView, request: web.Request) -> web.StreamResponse:
    """Check a policy file that is sent, and compare it with the set in force. Changes nothing."""
    if request.content_type not in YAML:
        raise AdminProblem(415, "YAML_REQUIRED", "Send the policy file as application/yaml.")
    content = body_of(request)
    async with _one_at_a_time:
        return answer(await asyncio.to_thread(_checked, content, view.policies))


def _checked(content: bytes, running: PolicySet) -> dict[str, Any]:
    """As if it lay beside the files in force: that is where the other files are that it names."""
    path = Path(*running.files[:1]).parent / CANDIDATE
    report = check([path], held={path: content})
    document: dict[str, Any] = {
        "valid": report.policies is not None,
        "errors": [{**error.as_dict(), "file": CANDIDATE} for error in report.errors],
        "warnings": [{**warning.as_dict(), "file": CANDIDATE} for warning in report.warnings],
    }
    if report.policies is not None:
        document["version"] = report.policies.version
        found = diff(running, report.policies)
        document["diff"] = [one._replace(source=_place(one.source, path)).as_dict() for one in found]
    return document


def _place(source: str, candidate: Path) -> str:
    """In what was sent, or in a file in force."""
    return CANDIDATE + source.removeprefix(str(candidate)) if source.startswith(f"{candidate}:") else source


_FINDINGS: Schema = {
    "type": "array",
    "items": {"type": "object", "required": ["file", "line", "col", "code", "message", "hint"]},
}
ENDPOINTS = (
    Endpoint(
        "GET",
        "/-/policy",
        policy,
        "The loaded policy set: version, files, each limit with its numbers and where it is defined.",
        answers={200: {"type": "object", "required": ["version", "loaded_at", "files", "limits", "routes"]}},
    ),
    Endpoint(
        "POST",
        "/-/policy/check",
        candidate,
        "Check the policy file in the body, and what it would change. Changes nothing.",
        body=Body({}, "version: 1\n", YAML[0]),
        answers={
            200: {
                "type": "object",
                "required": ["valid", "errors", "warnings"],
                "properties": {"valid": {"type": "boolean"}, "errors": _FINDINGS, "warnings": _FINDINGS},
            }
        },
    ),
    Endpoint(
        "GET",
        "/-/config",
        config,
        "Every setting in force, with where it came from; secrets masked.",
        answers={200: {"type": "object", "required": ["settings"]}},
    ),
    Endpoint(
        "GET",
        "/-/schema/policies.json",
        schema,
        "JSON Schema of policy files.",
        answers={200: OBJECT},
        content="application/schema+json",
    ),
    Endpoint(
        "GET",
        "/-/limits",
        limits,
        "Every limit, as in `/-/policy`.",
        answers={200: {"type": "object", "required": ["limits"]}},
    ),
)
