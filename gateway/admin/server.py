"""The admin listener of one worker: its routes, its start and its end.

Workers share the listening socket, so any of them may answer. That is fine: counters live in the store, metrics are
added up, policies and settings are the same everywhere.
"""

import re
import socket
import ssl
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import unquote

from aiohttp import hdrs, web

from gateway.admin import breakers, connections, counters, describe, local_breakers
from gateway.admin.guard import MAX_BODY_BYTES, Guard
from gateway.admin.problems import AdminProblem, answer
from gateway.admin.view import AdminView
from gateway.observe.log import event

CLOSE_S = 1.0
IDLE_S = 15.0
LIMITS, BREAKERS, CONNECTIONS = "/-/limits/", "/-/breakers/", "/-/connections/"

Handler = Callable[["AdminServer", web.Request], Coroutine[Any, Any, web.StreamResponse]]


class Endpoint(NamedTuple):
    """One route. `docs/admin-api.md` lists exactly these; a GET also answers HEAD."""

    method: str
    path: str
    handler: Handler


class AdminServer:
    """Serves the admin API for one worker."""

    def __init__(self, worker: AdminView) -> None:
        """Raises gateway.admin.guard.TokenMissing for an address that others can reach and no (or a weak) token."""
        self.worker = worker
        local_breakers.answer_siblings(worker)
        app = web.Application(middlewares=[Guard(worker.settings).middleware()], client_max_size=MAX_BODY_BYTES)
        for endpoint in ENDPOINTS:
            handler = partial(endpoint.handler, self)
            app.router.add_route(endpoint.method, _pattern(endpoint.path), handler)
            if endpoint.method == hdrs.METH_GET:
                app.router.add_route(hdrs.METH_HEAD, _pattern(endpoint.path), handler)
        self._runner = web.AppRunner(
            app, access_log=None, handle_signals=False, keepalive_timeout=IDLE_S, shutdown_timeout=CLOSE_S
        )

    async def start(self, listening: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Accept from an already bound socket."""
        await self._runner.setup()
        await web.SockSite(self._runner, listening, ssl_context=tls).start()

    async def close(self) -> None:
        """Stop; requests in progress get a moment. Idempotent."""
        await self._runner.cleanup()

    # Health ---------------------------------------------------------------------------------------

    async def _alive(self, _request: web.Request) -> web.StreamResponse:
        return answer({"status": "alive"})

    async def _ready(self, request: web.Request) -> web.StreamResponse:
        worker = self.worker
        checks = worker.checks()
        failing = [check for check in checks if not check.ok]
        status = "draining" if worker.draining else "not ready" if failing else "ready"
        shown = checks if "verbose" in request.query else failing
        document: dict[str, Any] = {"status": status}
        if shown:
            document["checks"] = [check._asdict() for check in shown]
        if "verbose" in request.query:
            document |= {"worker": worker.worker, "policy_version": worker.policies.version}
        return answer(document, 200 if status == "ready" else 503)

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        body, content_type = await self.worker.render_metrics(request.headers.get(hdrs.ACCEPT, ""))
        return web.Response(body=body, headers={hdrs.CONTENT_TYPE: content_type})

    # What is in force -----------------------------------------------------------------------------

    async def _policy(self, _request: web.Request) -> web.StreamResponse:
        return answer(describe.policy_document(self.worker.policies))

    async def _config(self, _request: web.Request) -> web.StreamResponse:
        return answer(describe.config_document(self.worker.settings))

    async def _limits(self, _request: web.Request) -> web.StreamResponse:
        return answer({"limits": describe.limit_documents(self.worker.policies)})

    # Counters -------------------------------------------------------------------------------------

    async def _peek(self, request: web.Request) -> web.StreamResponse:
        return answer(await counters.peek(self.worker.store, self._target(request)))

    async def _reset(self, request: web.Request) -> web.StreamResponse:
        target, store = self._target(request), self.worker.store
        before = await counters.peek(store, target)
        existed = await counters.reset(store, target)
        after = await counters.peek(store, target)
        _audit(request, "Counter reset", "limit.reset", before, after)
        return answer({"reset": existed, "before": before, "after": after})

    def _target(self, request: web.Request) -> counters.Target:
        return counters.find(self.worker.policies, _segments(request, LIMITS))

    # Breakers -------------------------------------------------------------------------------------

    async def _breakers(self, _request: web.Request) -> web.StreamResponse:
        return answer({"breakers": breakers.breaker_documents(self.worker.policies)})

    async def _breaker(self, request: web.Request) -> web.StreamResponse:
        words = _segments(request, BREAKERS)
        target = breakers.find(self.worker.policies, words)
        if not target.shared:
            return answer(await local_breakers.look_everywhere(self.worker, target, words))
        return answer(await breakers.look(self.worker.store, target))

    async def _force(self, request: web.Request) -> web.StreamResponse:
        worker, store, words = self.worker, self.worker.store, _segments(request, BREAKERS)
        target = breakers.find(worker.policies, words)
        if request.content_type != "application/json":
            raise AdminProblem(415, "JSON_REQUIRED", "Send the body as application/json.")
        order = breakers.read_order(await request.read())
        if target.shared:
            before = await breakers.look(store, target)
            change = await breakers.force(store, target, order)
            after = await breakers.look(store, target)
        else:
            before = await local_breakers.look_everywhere(worker, target, words)
            change = None  # each worker tells its own
            after = await local_breakers.force_everywhere(worker, target, words, order)
        _audit(request, "Breaker forced", "breaker.force", before, after)
        if change is not None:
            worker.breaker_changed(target.guard, change)
        return answer({"before": before, "after": after})

    # Connections ----------------------------------------------------------------------------------

    async def _connections(self, request: web.Request) -> web.StreamResponse:
        return answer(await connections.page(self.worker.statuses, request.query))

    async def _connection(self, request: web.Request) -> web.StreamResponse:
        segment, *more = _segments(request, CONNECTIONS)
        if more:
            raise web.HTTPNotFound
        name, worker = unquote(segment, errors="surrogateescape"), self.worker
        tenant = request.query.get("tenant")
        return answer(await connections.one(worker.statuses, worker.store, worker.policies, name, tenant))


def _audit(request: web.Request, message: str, action: str, before: object, after: object) -> None:
    """Who changed what is on record."""
    target = request.raw_path.partition("?")[0]
    event(
        "admin.mutation",
        message,
        "warning",
        actor=request.remote,
        action=action,
        target=target,
        before=before,
        after=after,
    )


def _segments(request: web.Request, behind: str) -> list[str]:
    """Of the raw path: decoded, `%2F` inside a value would look like a border between two. Raises AdminProblem."""
    path = request.raw_path.partition("?")[0]
    if not path.startswith(behind):
        raise AdminProblem(400, "BAD_REQUEST", "The request target must be a plain path.")
    return path.removeprefix(behind).split("/")


def _pattern(path: str) -> str:
    """As aiohttp's router wants it: what is in braces may be any number of segments, whatever bytes they stand for."""
    return re.sub(r"\{.*\}", "{rest:(?s:.+)}", path)


ENDPOINTS = (
    Endpoint("GET", "/livez", AdminServer._alive),
    Endpoint("GET", "/readyz", AdminServer._ready),
    Endpoint("GET", "/healthz", AdminServer._ready),
    Endpoint("GET", "/-/health", AdminServer._ready),
    Endpoint("GET", "/metrics", AdminServer._metrics),
    Endpoint("GET", "/-/policy", AdminServer._policy),
    Endpoint("GET", "/-/config", AdminServer._config),
    Endpoint("GET", "/-/limits", AdminServer._limits),
    Endpoint("GET", "/-/limits/{limit}/{key}", AdminServer._peek),
    Endpoint("DELETE", "/-/limits/{limit}/{key}", AdminServer._reset),
    Endpoint("GET", "/-/breakers", AdminServer._breakers),
    Endpoint("GET", "/-/breakers/{breaker}/{key}", AdminServer._breaker),
    Endpoint("POST", "/-/breakers/{breaker}/{key}", AdminServer._force),
    Endpoint("GET", "/-/connections", AdminServer._connections),
    Endpoint("GET", "/-/connections/{id}", AdminServer._connection),
)
