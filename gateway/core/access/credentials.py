"""The credentials that the gateway shows upstreams: whose they are, and what of a request they replace.

A caller's own Authorization never goes along with them: an upstream that sees two does as it likes with either.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote_plus

from gateway.core.access.hidden import NOTHING_HIDDEN, Hidden
from gateway.core.http.fields import lookalikes

AUTHORIZATION = b"authorization"
_PIECES = re.compile(r"[&;][^&;]*")


@dataclass(frozen=True, slots=True)
class OAuth:
    """How tokens are had from an authorization server (RFC 6749).

    grant       `client_credentials` (§4.4) or `refresh_token` (§6)
    client_in_body  whether the client says who it is in the form rather than by `Authorization: Basic` (§2.3.1)
    parameters  further ones of the form
    ca_file     PEM file that its certificate is checked with; "" = the system's
    token_keys  what tokens are sealed with where all workers keep them; () = each worker has its own
    """

    grant: str
    token_url: str
    client_id: str
    client_secret: Hidden = NOTHING_HIDDEN
    refresh_token: Hidden = NOTHING_HIDDEN
    scope: tuple[str, ...] = ()
    parameters: tuple[tuple[str, Hidden], ...] = ()
    client_in_body: bool = False
    ca_file: str = ""
    token_keys: tuple[Hidden, ...] = ()


@dataclass(frozen=True, slots=True)
class Credential:
    """What is shown to one upstream for some of its callers.

    upstream   the only one that ever sees it
    match      (key part, value) pairs that a caller must have; () = anybody
    header     name of the field that carries it, as it is sent; "" = none does
    parameter  name of the query parameter that carries it; "" = none does
    shown      value of the field or parameter, ready to be sent; with `oauth` what stands in front of the token
    oauth      where tokens come from that are shown and do not last; None = what is shown lasts
    replaces   lower-case names of the caller's fields that are not forwarded; made from header
    """

    name: str
    upstream: str
    match: tuple[tuple[str, str], ...] = ()
    header: str = ""
    parameter: str = ""
    shown: Hidden = NOTHING_HIDDEN
    kind: str = ""
    oauth: OAuth | None = None
    source: str = field(default="", compare=False)
    replaces: frozenset[bytes] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        own = self.header.lower().encode("ascii") or AUTHORIZATION
        names = frozenset({AUTHORIZATION, own})
        object.__setattr__(self, "replaces", names.union(*map(lookalikes, names)))

    @property
    def lasting(self) -> bool:
        """Whether one head fits all calls of a caller; a parameter stands in each call's own request line, and tokens
        are renewed."""
        return not self.parameter and self.oauth is None

    def line(self, token: str = "") -> bytes:
        """The field line; b"" when a parameter carries it, or a token that is not given. That goes behind `shown`."""
        if not self.header or (self.oauth is not None and not token):
            return b""
        return f"{self.header}: {self.shown.reveal()}{token}\r\n".encode("latin-1")


def in_order(credentials: Sequence[Credential]) -> tuple[Credential, ...]:
    """Those that say more about the caller first; else as they stand."""
    return tuple(sorted(credentials, key=lambda one: -len(one.match)))


def chosen(credentials: Sequence[Credential], values: Mapping[str, str]) -> Credential | None:
    """The first of these credentials whose match holds for a caller; None if none does.

    values  of the key parts that the caller has
    """
    for one in credentials:
        if all(values.get(name) == value for name, value in one.match):
            return one
    return None


def with_parameter(target: str, credential: Credential) -> str:
    """A request target that carries the credential, and nothing by which the caller says it is somebody else."""
    path, _, query = target.partition("?")
    kept = [piece for piece in _PIECES.findall(f"&{query}") if query and not _names(piece, credential.parameter)]
    return f"{path}?{''.join([*kept, f'&{credential.parameter}={credential.shown.reveal()}'])[1:]}"


def _names(piece: str, parameter: str) -> bool:
    """Whether a server may take the piece for this parameter: some ignore case, `+` and `%20` are one."""
    return unquote_plus(piece[1:].partition("=")[0]).strip().lower() == parameter.lower()
