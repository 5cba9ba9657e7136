"""Coming in with a browser: the token is typed into a form once, and a cookie stands for it afterwards."""

from time import monotonic
from urllib.parse import parse_qs

from aiohttp import hdrs, web

from gateway.admin.audit import LET_IN_BY, audit
from gateway.admin.bodies import body_of
from gateway.admin.denials import Denials
from gateway.admin.page import session
from gateway.admin.page.doorstep import Doorstep
from gateway.admin.page.layout import page, to
from gateway.admin.page.markup import element
from gateway.admin.problems import AdminProblem
from gateway.admin.tokens import Token, shown, tokens_of
from gateway.admin.view import AdminView

_WHERE = (
    "The token that ",
    element("code", "admin_token"),
    " (or ",
    element("code", "admin_read_token"),
    ", to look only) in the gateway's settings refers to: what its variable or file holds.",
)
FORM = "application/x-www-form-urlencoded"


def read_form(request: web.Request) -> dict[str, str]:
    """What a form of ours sent, the first value of each name. Raises AdminProblem."""
    if request.content_type != FORM:
        raise AdminProblem(415, "FORM_REQUIRED", "Send the form as a form does.")
    text = body_of(request).decode("utf-8", "replace")
    try:
        return {name: values[0] for name, values in parse_qs(text, max_num_fields=20).items()}
    except ValueError:
        raise AdminProblem(400, "BAD_ORDER", "This is not a form of the dashboard.") from None


def form(view: AdminView, back_to: str, *, error: str = "", wait_s: int = 0) -> web.Response:
    """Asks for the token. `back_to`: where to go afterwards; `wait_s`: after too many wrong ones, not at once."""
    if wait_s:
        error = f"Too many wrong tokens came from your address. Try again in {wait_s} s."
    said = element("p", error, class_="notice bad", role="alert") if error else None
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
    where = element("p", *_WHERE, id="where")
    asked = element(
        *("form", said, element("label", "Admin token", for_="token"), field, where),
        element("input", type="hidden", name="next", value=back_to),
        element("button", "Sign in", class_="act"),
        method="post",
        action="/login",
        class_="panel narrow",
    )
    answer = page(view, "Sign in", asked, status=429 if wait_s else 401, inside=False)
    if wait_s:
        answer.headers[hdrs.RETRY_AFTER] = str(wait_s)
    else:
        answer.headers[hdrs.WWW_AUTHENTICATE] = 'Bearer realm="gateway admin"'
    return answer


async def ask(view: AdminView, request: web.Request) -> web.StreamResponse:
    """Show the form; without an admin token in the settings, lead straight on."""
    back_to = local(request.query.get("next", "/"))
    if view.settings.admin_token is None:
        return to(back_to)
    return form(view, back_to)


class SignIn:
    """The form and what it is answered with. Each worker remembers by itself who has shown wrong tokens."""

    def __init__(self, view: AdminView) -> None:
        self._view = view
        self._tokens = tokens_of(view.settings)
        self._doorstep = Doorstep()
        self._denials = Denials()

    async def take(self, request: web.Request) -> web.StreamResponse:
        """With the right token: a cookie, and on to the page that was asked for."""
        sent = read_form(request)
        back_to = local(sent.get("next", "/"))
        if not self._tokens:
            return to(back_to)
        token = self._shown(request, back_to, sent.get("token", ""))
        if not isinstance(token, Token):
            return token
        request[LET_IN_BY] = f"{token.may}token"
        audit(request, "Signed in", "dashboard.sign_in", None, None)
        response = to(back_to)
        session.begin(request, response, token.secret)
        return response

    def _shown(self, request: web.Request, back_to: str, given: str) -> Token | web.Response:
        """The token; or the form again, when it is wrong or too many were."""
        now_s = monotonic()
        wait_s = self._doorstep.wait_s(request.remote, now_s)
        if wait_s:
            return form(self._view, back_to, wait_s=wait_s)
        token = shown(self._tokens, given.strip())
        if token is None:
            self._doorstep.wrong(request.remote, now_s)
            self._denials.tell(request)
            return form(self._view, back_to, error="That is not the token.")
        return token


async def sign_out(_view: AdminView, _request: web.Request) -> web.StreamResponse:
    """Have the browser forget its cookie, and show the form."""
    response = to("/login")
    session.end(response)
    return response


def local(target: str) -> str:
    """A path of ours; anything that could lead elsewhere is the overview."""
    plain = (
        target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable() and "\\" not in target
    )
    return target if plain and target.isascii() else "/"
