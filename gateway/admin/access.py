"""Who may use the admin listener: with a token, whoever knows it; without one, only programs on this host. Who knows
the second token, for reading, may look at everything and change nothing.

A page in an operator's browser is not such a program. It can reach 127.0.0.1, but a name of its own that it has pointed
there stays in `Host`, and what it changes on another site carries its `Origin` (RFC 6454; Fetch metadata).
"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import NoReturn
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from gateway.admin.audit import LET_IN_BY
from gateway.admin.bodies import most_body_bytes, take_body, too_large
from gateway.admin.bulkhead import Bulkhead
from gateway.admin.denials import Denials
from gateway.admin.endpoint import API
from gateway.admin.page import session
from gateway.admin.problems import AdminProblem, unavailable
from gateway.admin.tokens import check_may_change, shown, tokens_of
from gateway.core.public_address import is_loopback
from gateway.observe.log.logger import event
from gateway.settings import MIN_TOKEN_CHARS, Settings
from gateway.store import StoreDown

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Tell = Callable[[web.Request, AdminProblem], web.StreamResponse]


class TokenMissing(Exception):
    """The admin listener would be open to the network. The text says what to do."""


def check_tokens(settings: Settings) -> None:
    """Raises TokenMissing where requests need not carry a token and others can reach the listener, or it is too
    short."""
    token, reading = settings.admin_token, settings.admin_read_token
    if token is None and settings.admin is not None and not is_loopback(settings.admin.host):
        raise TokenMissing(f"admin listener on {settings.admin}: an address others can reach needs an admin token")
    if any(one is not None and len(one) < MIN_TOKEN_CHARS for one in (token, reading)):
        raise TokenMissing(f"the admin token is shorter than {MIN_TOKEN_CHARS} characters")


class Access:
    """aiohttp middleware around every route, unknown ones included. Turns all errors into problems."""

    def __init__(
        self,
        settings: Settings,
        tell: Tell,
        harmless: Collection[tuple[str, str]],
    ) -> None:
        """Raises TokenMissing.

        tell      how a problem is answered
        harmless  (method, path) of what changes nothing, although its method is none that says so
        """
        check_tokens(settings)
        self._tell = tell
        self._tokens = tokens_of(settings)
        self._harmless = harmless
        self._denials = Denials()
        self._bound = settings.admin.host.lower() if settings.admin is not None else ""

    def middleware(self) -> Middleware:
        """The checks as an aiohttp middleware: refuse, or make room for the request and let the handler answer it."""
        bulkhead = Bulkhead()

        @web.middleware
        async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
            try:
                self.check(request)
                if request.method not in SAFE_METHODS:
                    await take_body(request)
                async with bulkhead.place(request.path):
                    response = await handler(request)
            except AdminProblem as problem:
                response = self._tell(request, problem)
            except StoreDown as down:
                response = self._tell(request, unavailable(down))
            except web.HTTPException as error:
                response = self._tell(request, _from_aiohttp(error))
            except Exception:
                event("admin.failed", "Admin request failed", "error", path=request.path, exc_info=True)
                failed = AdminProblem(500, "INTERNAL_ERROR", "The gateway failed to handle this request.")
                response = self._tell(request, failed)
            return response

        return guarded

    def check(self, request: web.Request) -> None:
        """Raise AdminProblem when this request may not be served."""
        if self._tokens:
            let_in_by = self._let_in_by(request)
            if let_in_by:
                request[LET_IN_BY] = let_in_by
            elif not is_public(request.path):
                self._deny(request)
        elif not self._is_ours(host_name(request.headers.get(hdrs.HOST, ""))):
            raise AdminProblem(421, "HOST_NOT_ALLOWED", "Without a token this listener only answers to loopback names.")
        if (request.content_length or 0) > most_body_bytes(request.path):
            raise too_large(request.path)
        if request.method not in SAFE_METHODS:
            check_origin(request)
            by_cookie = bool(self._tokens) and not request.get(LET_IN_BY, "").endswith("token")
            if by_cookie or not request.path.startswith(API):
                check_own_page(request)
            if (request.method, request.path) not in self._harmless:
                check_may_change(request)

    def _deny(self, request: web.Request) -> NoReturn:
        said = request.headers.get(hdrs.AUTHORIZATION)
        if said is not None:
            self._denials.tell(request)
        wrong = "The admin token is wrong." if said is not None and _bearer(said)[0] else _HOW
        raise AdminProblem(401, "TOKEN_REQUIRED", wrong, _CHALLENGE)

    def _let_in_by(self, request: web.Request) -> str:
        """In the words of LET_IN_BY; "" = nothing."""
        is_bearer, given = _bearer(request.headers.get(hdrs.AUTHORIZATION, ""))
        token = shown(self._tokens, given)
        if is_bearer and token is not None:
            return f"{token.may}token"
        return next((f"{may}session" for may, secret in self._tokens if session.let_in(request, secret)), "")

    def _is_ours(self, name: str) -> bool:
        return is_loopback(name) or (name != "" and name == self._bound)


_HOW = "Send the admin token as `Authorization: Bearer ...`."
_CHALLENGE: Mapping[str, str] = {hdrs.WWW_AUTHENTICATE: 'Bearer realm="gateway admin"'}


def _bearer(authorization: str) -> tuple[bool, str]:
    """Whether the field is of that scheme, and what stands behind the scheme."""
    scheme, _, given = authorization.partition(" ")
    return scheme.lower() == "bearer", given.strip()


def host_name(host: str) -> str:
    """The name or address of a Host field, without brackets and port; "" when it is neither."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def check_origin(request: web.Request) -> None:
    """Mutations that a browser sends for another site's page are refused."""
    origin = request.headers.get(hdrs.ORIGIN)
    own = request.headers.get(hdrs.HOST, "").lower()
    foreign = origin is not None and origin.partition("://")[2].lower() != own
    if foreign or request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        raise AdminProblem(403, "ORIGIN_NOT_ALLOWED", "Pages of other sites may not change anything here.")


def check_own_page(request: web.Request) -> None:
    """What a browser sends by itself, a cookie or a form, is only taken from our own pages, and it has to say so."""
    if hdrs.ORIGIN not in request.headers and request.headers.get("Sec-Fetch-Site") != "same-origin":
        raise AdminProblem(403, "ORIGIN_NOT_ALLOWED", "Only the dashboard's own pages may send its forms.")


def is_public(path: str) -> bool:
    """What a browser needs before it can show a token."""
    return path == "/login" or path.startswith("/assets/")


def _from_aiohttp(error: web.HTTPException) -> AdminProblem:
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        detail = f"{error.method} is not allowed here; allowed: {allowed}."
        return AdminProblem(405, "METHOD_NOT_ALLOWED", detail, {hdrs.ALLOW: allowed})
    if error.status == 404:
        return AdminProblem(404, "NOT_FOUND", "There is nothing here; /-/openapi.json lists what there is.")
    return AdminProblem(error.status, "BAD_REQUEST", error.reason)


async def harden(_request: web.Request, response: web.StreamResponse) -> None:
    """For `on_response_prepare`: streams have sent their head long before their handler returns."""
    response.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers[hdrs.SERVER] = "gateway"
