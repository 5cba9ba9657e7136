"""What every page has around it, and the fields its answer carries."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from aiohttp import hdrs, web

from gateway.admin.page.markup import Html, element, fill
from gateway.admin.page.tables import link
from gateway.admin.view import AdminView

PAGES = (("/", "Overview"), ("/limits", "Limits"), ("/connections", "Connections"), ("/breakers", "Breakers"))
POLICY = "; ".join(
    (
        *("default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self'"),
        *("form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"),
    )
)
FIELDS: Mapping[str, str] = {
    "Content-Security-Policy": POLICY,
    "X-Frame-Options": "DENY",
    # Not `no-referrer`: with it browsers send `Origin: null` with the page's own forms, and those are refused.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


@cache
def _template() -> str:
    return files("gateway.admin.page").joinpath("assets", "page.html").read_text("utf-8")


def page(
    view: AdminView,
    title: str,
    main: Html,
    *,
    path: str = "",
    refresh_s: int = 0,
    status: int = 200,
    inside: bool = True,
) -> web.Response:
    """A whole page as an answer.

    path       of the page among PAGES, to show where one is
    refresh_s  how often browsers without scripts load it again; 0 = never
    inside     whether who sees it may see the other pages
    """
    again = element("noscript", element("meta", http_equiv="refresh", content=refresh_s)) if refresh_s else Html()
    html = fill(
        _template(),
        title=f"{title} · {view.settings.name}",
        refresh=again,
        name=view.settings.name,
        navigation=_navigation(path) if inside else "",
        leave=_leave(view) if inside else "",
        heading=title,
        main=main,
        footer=_footer(view) if inside else "",
    )
    return as_answer(html, status)


def as_answer(html: Html, status: int = 200) -> web.Response:
    """A page as an answer, with the header fields that every page has."""
    return web.Response(text=html, status=status, content_type="text/html", charset="utf-8", headers=FIELDS)


def to(target: str) -> web.Response:
    """The redirect (303) to another page."""
    return web.Response(status=303, headers={hdrs.LOCATION: target})


def _navigation(path: str) -> Html:
    shown = [
        element("li", element("a", name, href=target, aria_current="page" if target == path else None))
        for target, name in PAGES
    ]
    return element("ul", *shown)


def _footer(view: AdminView) -> Html:
    return element(
        "p",
        *("Times are UTC. Policies ", element("code", view.policies.version), ". The same for programs: "),
        *(link("/-/status", "status"), ", ", link("/-/openapi.json", "admin API"), "."),
    )


def _leave(view: AdminView) -> Html:
    """Only who had to come in can leave."""
    if view.settings.admin_token is None:
        return Html()
    return element("form", element("button", "Sign out"), method="post", action="/logout")


def problem_page(view: AdminView, status: int, title: str, detail: str) -> web.Response:
    """Something that cannot be shown, and why."""
    back = element("p", link("/", "To the overview"))
    return page(view, title, element("section", element("p", detail), back, class_="panel"), status=status)
