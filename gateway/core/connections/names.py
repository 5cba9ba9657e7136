"""What a connection is called, whoever asks: the store, the log, the admin API."""

import re
from collections.abc import Iterable

from gateway.core.connections.state import Named
from gateway.core.keys import encode_part

MAX_NAME_CHARS = 128
_AS_CALLERS_SAY_IT = re.compile(r"(?!#|key-)[^\\]*").fullmatch
"""Not the hash of a long name or of an API key, nor bytes that are no UTF-8 as escapes."""


def name_of(tenant: str, connection: str) -> Named:
    """The connection of a caller who sent this: texts fit for people, a long one as its hash. Twice is as once."""
    return Named(_fit(tenant), _fit(connection))


def _fit(value: str) -> str:
    if len(value) > MAX_NAME_CHARS:
        return encode_part(value)
    return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()


def owners(known: Iterable[Named]) -> list[str]:
    """The tenants who are known to have a connection, of all who have one of its name; "" alone: none is known, or
    calls without a tenant have it, too."""
    tenants = sorted({one.tenant for one in known})
    return tenants if tenants and tenants[0] else [""]


def as_said(tenant: str) -> str:
    """A tenant's name as its calls say it; "" where it is only known by something else."""
    return tenant if _AS_CALLERS_SAY_IT(tenant) else ""
