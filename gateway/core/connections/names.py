"""What a connection is called, whoever asks: the store, the log, the admin API."""

from gateway.core.connections.state import Named
from gateway.core.keys import encode_part

MAX_NAME_CHARS = 128


def name_of(tenant: str, connection: str) -> Named:
    """The connection of a caller who sent this: texts fit for people, a long one as its hash. Twice is as once."""
    return Named(_fit(tenant), _fit(connection))


def _fit(value: str) -> str:
    if len(value) > MAX_NAME_CHARS:
        return encode_part(value)
    return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
