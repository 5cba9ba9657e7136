"""How a test says which connection it is about: in the fields and query parameters that routes read it from.

A test is no call of a route, so what is read from a path, a token or a key of the caller's cannot be said.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote

from gateway.core.access.credentials import Credential
from gateway.core.keys import KeyFrom, KeyPart
from gateway.core.policy import PolicySet
from gateway.core.upstream import Upstream

_OF_THE_TEST = frozenset(
    {"host", "user-agent", "accept", "x-request-id", "connection", "content-length", "transfer-encoding"}
)
"""Fields that a test sends or must not send, whatever a route reads from them."""
_FIELD_VALUE = re.compile(r"[^\x00-\x1f\x7f]+").fullmatch
"""What may stand in a field line (RFC 9110 5.5). A name that was read from a path may hold a line's end."""


class Naming(NamedTuple):
    """What goes along with a test's request.

    fields  field lines, each ended by CRLF
    query   parameters, joined by `&`
    told    whether the upstream learns which connection is meant, from these or from the credentials it is shown
    """

    fields: bytes
    query: str
    told: bool

    def target(self, path: str) -> str:
        """The request target: the path, and the parameters."""
        return f"{path}?{self.query}" if self.query else path


def naming(policies: PolicySet, upstream: Upstream, values: Mapping[str, str], credential: Credential | None) -> Naming:
    """Of key parts with these values, as the routes to this upstream read them.

    values  of the key parts that a test knows. Without a connection there is none to be told
    """
    replaced = frozenset() if credential is None else credential.replaces
    said = [part for part in _parts(policies, upstream) if part.name in values and _free(part, values, replaced)]
    fields = {part.source_name: values[part.name] for part in said if part.source is KeyFrom.HEADER}
    query = {part.source_name: values[part.name] for part in said if part.source is KeyFrom.QUERY}
    shown = credential is not None and "connection" in dict(credential.match)
    told = "connection" not in values or shown or any(part.name == "connection" for part in said)
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    parameters = "&".join(f"{_quoted(name)}={_quoted(value)}" for name, value in query.items())
    return Naming(lines.encode("utf-8", "surrogateescape"), parameters, told)


def _parts(policies: PolicySet, upstream: Upstream) -> list[KeyPart]:
    """All that routes to it read from fields and parameters."""
    routes = (route for route in policies.routes if route.upstream.name == upstream.name)
    return [part for route in routes for part in route.keys if part.source in (KeyFrom.HEADER, KeyFrom.QUERY)]


def _free(part: KeyPart, values: Mapping[str, str], replaced: frozenset[bytes]) -> bool:
    if part.source is KeyFrom.QUERY:
        return True
    taken = part.source_name in _OF_THE_TEST or part.source_name.encode() in replaced
    return not taken and _FIELD_VALUE(values[part.name]) is not None


def _quoted(text: str) -> str:
    return quote(text, safe="", errors="surrogateescape")
