"""Changes made through the admin listener are on record, and who made them: event `admin.mutation`. Never a token."""

from aiohttp import web

from gateway.observe.log.logger import event
from gateway.observe.log.text import readable

LET_IN_BY = web.RequestKey("let_in_by", str)
"""Where a request keeps what it was let in by: `token`, or `session`, the dashboard's cookie; `read_token` and
`read_session` for who may only look; nothing = there is no token."""


def audit(request: web.Request, message: str, action: str, before: object, after: object, reason: str = "") -> None:
    """Tell of one change, when it has been made. `reason`: in the words of who made it, "" = nothing was said."""
    event(
        "admin.mutation",
        message,
        "warning",
        actor=request.remote,
        let_in_by=request.get(LET_IN_BY, "address"),
        action=action,
        target=readable(request.raw_path.partition("?")[0]),
        before=before,
        after=after,
        reason=reason or None,
    )
