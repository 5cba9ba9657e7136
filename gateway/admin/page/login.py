"""Coming in with a browser: the token is typed into a form once, and a cookie stands for it afterwards."""

import hmac
from urllib.parse import parse_qs

from aiohttp import hdrs, web

from gateway.admin.audit import audit
from gateway.admin.page import session
from gateway.admin.page.layout import page, to
from gateway.admin.page.markup import element
from gateway.admin.problems import AdminProblem
from gateway.admin.view import AdminView

FORM = "application/x-www-form-urlencoded"


async def read_form(request: web.Request) -> dict[str, str]:
    """What a form of ours sent, the first value of each name. Raises AdminProblem."""
    if request.content_type != FORM:
        raise AdminProblem(415, "FORM_REQUIRED", "Send the form as a form does.")
    text = (await request.read()).decode("utf-8", "replace")
    try:
        return {name: values[0] for name, values in parse_qs(text, max_num_fields=20).items()}
    except ValueError:
        raise AdminProblem(400, "BAD_ORDER", "This is not a form of the dashboard.") from None


def form(view: AdminView, back_to: str, *, wrong: bool = False) -> web.Response:
    """Asks for the token. `back_to`: where to go afterwards."""
    error = element("p", "That is not the token.", class_="notice bad", role="alert") if wrong else None
    field = element(
        "input",
        type="password",
        name="token",
        id="token",
        autocomplete="current-password",
        required=True,
        autofocus=True,
        aria_describedby="where",
    )
    where = element("p", "The value of ", element("code", "admin_token"), " in the gateway's settings.", id="where")
    asked = element(
        *("form", error, element("label", "Admin token", for_="token"), field, where),
        element("input", type="hidden", name="next", value=back_to),
        element("button", "Sign in", class_="act"),
        method="post",
        action="/login",
        class_="panel narrow",
    )
    answer = page(view, "Sign in", asked, status=401, inside=False)
    answer.headers[hdrs.WWW_AUTHENTICATE] = 'Bearer realm="gateway admin"'
    return answer


async def ask(view: AdminView, request: web.Request) -> web.StreamResponse:
    """The form; who needs no token goes on."""
    back_to = local(request.query.get("next", "/"))
    if view.settings.admin_token is None:
        return to(back_to)
    return form(view, back_to)


async def sign_in(view: AdminView, request: web.Request) -> web.StreamResponse:
    """With the right token: a cookie, and on to the page that was asked for."""
    sent = await read_form(request)
    back_to = local(sent.get("next", "/"))
    if view.settings.admin_token is None:
        return to(back_to)
    token = view.settings.admin_token.encode("utf-8", "surrogateescape")
    given = sent.get("token", "").strip().encode("utf-8", "surrogatepass")
    if not hmac.compare_digest(given, token):
        audit(request, "Sign-in with a wrong token", "dashboard.refuse", None, None)
        return form(view, back_to, wrong=True)
    audit(request, "Signed in", "dashboard.sign_in", None, None)
    response = to(back_to)
    session.begin(request, response, token)
    return response


async def sign_out(_view: AdminView, _request: web.Request) -> web.StreamResponse:
    """The browser forgets its cookie."""
    response = to("/login")
    session.end(response)
    return response


def local(target: str) -> str:
    """A path of ours; anything that could lead elsewhere is the overview."""
    plain = (
        target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable() and "\\" not in target
    )
    return target if plain and target.isascii() else "/"
