"""The admin listener of one worker: its routes, its start and its end.

Workers share the listening socket, so any of them may answer. That is fine: counters live in the store, policies and
settings are the same everywhere, and what each worker has of its own is asked of all of them (`gateway.siblings`).
"""

import re
import socket
import ssl
from functools import partial

from aiohttp import hdrs, web

from gateway.admin.access import Access, harden
from gateway.admin.endpoint import strict
from gateway.admin.operations import local_breakers
from gateway.admin.page.routes import HARMLESS, add_pages, told
from gateway.admin.table import ENDPOINTS
from gateway.admin.view import AdminView

CLOSE_S = 1.0
IDLE_S = 15.0


class AdminServer:
    """Serves the admin API for one worker."""

    def __init__(self, view: AdminView) -> None:
        """Raises gateway.admin.access.TokenMissing for an address that others can reach and no (or a weak) token."""
        local_breakers.answer_siblings(view)
        reading = {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS if endpoint.reads}
        access = Access(view.settings, partial(told, view), harmless=HARMLESS | reading)
        app = web.Application(middlewares=[access.middleware()])
        app.on_response_prepare.append(harden)
        add_pages(app.router, view)
        for endpoint in ENDPOINTS:
            handler = partial(strict(endpoint), view)
            app.router.add_route(endpoint.method, _pattern(endpoint.path), handler)
            if endpoint.method == hdrs.METH_GET:
                app.router.add_route(hdrs.METH_HEAD, _pattern(endpoint.path), handler)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            auto_decompress=False,
            handle_signals=False,
            keepalive_timeout=IDLE_S,
            shutdown_timeout=CLOSE_S,
        )

    async def start(self, listening: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Accept from an already bound socket."""
        await self._runner.setup()
        await web.SockSite(self._runner, listening, ssl_context=tls).start()

    async def close(self) -> None:
        """Stop; requests in progress get a moment. Idempotent."""
        await self._runner.cleanup()


def _pattern(path: str) -> str:
    """As aiohttp's router wants it: what is in braces may be any number of segments, whatever bytes they stand for.

    A name at the end may not end as another operation's path does (`/override`, `/test`): what has only that operation
    should not claim others in `Allow`. Who is really called that is asked for with `%2F`.
    """
    endings = _endings(path)
    last = rf"{{rest:(?s:(?!.*/(?:{endings})$).+)}}" if endings else "{rest:(?s:.+)}"
    return re.sub(r"\{.*\}$", lambda _found: last, re.sub(r"\{.*\}(?=/)", "{rest:(?s:.+)}", path))


def _endings(path: str) -> str:
    """The last words of the operations on what `path` names, as alternatives of a regular expression."""
    below = (endpoint.path.removeprefix(f"{path}/") for endpoint in ENDPOINTS if endpoint.path.startswith(f"{path}/"))
    return "|".join(sorted(set(below)))
