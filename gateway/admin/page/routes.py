"""Which pages there are, and how problems look to people."""

from functools import partial

from aiohttp import hdrs, web

from gateway.admin.endpoint import API, Handler
from gateway.admin.page import assets, breaker, caller, connection, layout, login, overview
from gateway.admin.page.live import Live
from gateway.admin.problems import AdminProblem
from gateway.admin.view import AdminView

REFRESH_S = 10
BEHIND = "{rest:(?s:.+)}"


async def home(view: AdminView, _request: web.Request) -> web.StreamResponse:
    """The overview as it is now."""
    facts = await overview.gathered(view)
    return layout.page(view, "Overview", overview.body(view, facts), path="/", refresh_s=REFRESH_S)


PAGES: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "/", home),
    ("GET", "/limits", caller.limits),
    ("GET", "/callers", caller.look_up),
    ("GET", "/callers/" + BEHIND, caller.caller),
    ("GET", "/connections", connection.every),
    ("GET", "/connections/" + BEHIND, connection.one),
    ("GET", "/breakers", breaker.every),
    ("GET", "/breaker", breaker.look_up),
    ("GET", "/breakers/" + BEHIND, breaker.one),
    ("POST", "/breakers/" + BEHIND, breaker.hold),
    ("GET", "/login", login.ask),
    ("POST", "/logout", login.sign_out),
    ("GET", assets.BEHIND + "{name}", assets.asset),
)


HARMLESS = frozenset({("POST", "/login"), ("POST", "/logout")})
"""What is posted and changes nothing but who the browser is."""


def add_pages(router: web.UrlDispatcher, view: AdminView) -> None:
    """Every page, the stream that keeps the overview fresh, and the way in."""
    live = Live(view)
    for method, path, handler in PAGES:
        router.add_route(method, path, partial(handler, view))
        if method == hdrs.METH_GET:
            router.add_route(hdrs.METH_HEAD, path, partial(handler, view))
    router.add_get("/live", live.serve, allow_head=False)
    router.add_post("/login", login.SignIn(view).take)


def told(view: AdminView, request: web.Request, problem: AdminProblem) -> web.Response:
    """A problem: as a page for people with browsers, as a document for programs."""
    wants_page = "text/html" in request.headers.get(hdrs.ACCEPT, "") and not request.path.startswith(API)
    if not wants_page:
        return problem.response()
    if problem.status == 401:
        return login.form(view, request.raw_path if request.method == hdrs.METH_GET else "/")
    document = problem.response()
    page = layout.problem_page(view, problem.status, document.reason, problem.detail)
    page.headers.update(problem.fields)
    return page
