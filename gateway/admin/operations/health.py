"""Whether the process lives, whether it takes calls, and its metrics."""

from typing import Any

from aiohttp import hdrs, web

from gateway.admin.endpoint import Endpoint, Query, Schema
from gateway.admin.operations.reload import last
from gateway.admin.problems import AdminProblem, answer
from gateway.admin.view import AdminView
from gateway.observe.metrics.multiprocess import NotThere

CHECK: Schema = {
    "type": "object",
    "required": ["name", "ok", "detail"],
    "properties": {"name": {"type": "string"}, "ok": {"type": "boolean"}, "detail": {"type": "string"}},
}
READY: Schema = {
    "type": "object",
    "required": ["status"],
    "properties": {
        "status": {"enum": ["ready", "not ready", "draining"]},
        "checks": {"type": "array", "items": CHECK},
        "worker": {"type": "integer"},
        "policy_version": {"type": "string"},
        "last_reload": {"type": "object", "required": ["result"]},
    },
}
VERBOSE = Query("verbose", {"type": "string"}, "With it all checks are listed, not only those that fail.")


async def alive(_view: AdminView, _request: web.Request) -> web.StreamResponse:
    """`GET /livez`: 200 as long as the process answers, draining included."""
    return answer({"status": "alive"})


async def ready(view: AdminView, request: web.Request) -> web.StreamResponse:
    """`GET /readyz`: 200 when new calls may come, 503 when a check fails or the gateway drains."""
    checks = view.checks()
    failing = [check for check in checks if not check.ok]
    status = "draining" if view.draining else "not ready" if failing else "ready"
    shown = checks if "verbose" in request.query else failing
    document: dict[str, Any] = {"status": status}
    if shown:
        document["checks"] = [check._asdict() for check in shown]
    if "verbose" in request.query:
        document |= {"worker": view.worker, "policy_version": view.policies.version}
        document["last_reload"] = last(view.reload)
    return answer(document, 200 if status == "ready" else 503)


async def metrics(view: AdminView, request: web.Request) -> web.StreamResponse:
    """`GET /metrics`: all workers' metrics, in the format that `Accept` asks for."""
    try:
        body, content_type = await view.render_metrics(request.headers.get(hdrs.ACCEPT, ""))
    except NotThere:
        raise AdminProblem(
            503, "METRICS_UNAVAILABLE", "Somebody has removed what workers count in, or a part of it."
        ) from None
    return web.Response(body=body, headers={hdrs.CONTENT_TYPE: content_type})


def _health(path: str, about: str) -> Endpoint:
    return Endpoint("GET", path, ready, about, query=(VERBOSE,), answers={200: READY, 503: READY})


ALIVE: Schema = {"type": "object", "required": ["status"], "properties": {"status": {"const": "alive"}}}
ENDPOINTS = (
    Endpoint("GET", "/livez", alive, "200 while the process runs, also while it drains.", answers={200: ALIVE}),
    _health("/readyz", "200 when new calls may come, 503 when not: a check fails, or the gateway drains."),
    _health("/healthz", "The same as `/readyz`."),
    _health("/-/health", "The same as `/readyz`."),
    Endpoint(
        "GET",
        "/metrics",
        metrics,
        "[Metrics](metrics.md) in Prometheus' text format or OpenMetrics, by `Accept`.",
        answers={200: {"type": "string"}},
        content="text/plain",
        errors=(503,),
    ),
)
