"""The tokens that let requests in: one for everything, and one for who looks and changes nothing."""

import hmac
from collections.abc import Iterable
from typing import NamedTuple

from aiohttp import web

from gateway.admin.audit import LET_IN_BY
from gateway.admin.problems import AdminProblem
from gateway.settings import Settings

ONLY_LOOKS = "read_"


class Token(NamedTuple):
    """One of them.

    may     "" = everything; else ONLY_LOOKS. What a request is told to be let in by begins so
    secret  as requests carry it
    """

    may: str
    secret: bytes


def tokens_of(settings: Settings) -> tuple[Token, ...]:
    """Those that there are; none = whoever reaches the listener may do everything."""
    both = (("", settings.admin_token), (ONLY_LOOKS, settings.admin_read_token))
    return tuple(Token(may, text.encode("utf-8", "surrogateescape")) for may, text in both if text is not None)


def shown(tokens: Iterable[Token], given: str) -> Token | None:
    """The one that was given, if it is one. Each is compared, in a time that does not depend on what was given."""
    said = given.encode("utf-8", "surrogatepass")
    matching = [token for token in tokens if hmac.compare_digest(said, token.secret)]
    return matching[0] if matching else None


def check_may_change(request: web.Request) -> None:
    """Raise AdminProblem when the request was let in by the token for reading."""
    let_in_by: str = request.get(LET_IN_BY, "")
    if let_in_by.startswith(ONLY_LOOKS):
        raise AdminProblem(403, "READ_ONLY", "The token that was shown is for reading: it changes nothing.")
