"""Text from callers made fit for a log: valid UTF-8, no secrets, no characters that act on a reader's terminal."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from urllib.parse import unquote_plus

REDACTED = "[redacted]"
MAX_JSON_INTEGER = 1 << 53  # beyond this, readers that use doubles lose digits

_ACTIVE = re.compile("[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
"""C1 controls (terminal escapes), line ends that are not LF, and marks that change the direction of text."""
_UNPRINTABLE = re.compile("[\x00-\x1f]|" + _ACTIVE.pattern)

_USERINFO = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)[^/\s?#\"']*@")
_PARAMETER = re.compile("[^&;]+")
_INNER = re.compile("[&;#]")
_SECRET_WORDS = (
    "authorization",
    "cookie",
    "credential",
    "jwt",
    "passw",
    "pwd",
    "secret",
    "session",
    "signature",
    "token",
)
_SECRET_NAMES = frozenset({"auth", "code", "key", "sig", "x-amz-signature", "x-goog-signature"})


def readable(text: str) -> str:
    """The text without lone surrogates: bytes that were no UTF-8 show as `\\xe9`."""
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()


def encodable(value: object, max_chars: int) -> object:
    """A JSON value like `value` that every encoder takes and every reader reads: texts cut to `max_chars`."""
    if isinstance(value, str):
        return readable(value[:max_chars])
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value if abs(value) <= MAX_JSON_INTEGER else float(value) if abs(value) < 10**300 else None
    if isinstance(value, float):
        return value
    if isinstance(value, Mapping):
        return {readable(str(key)): encodable(item, max_chars) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [encodable(item, max_chars) for item in value]
    return readable(str(value)[:max_chars])


def quiet(line: bytes) -> bytes:
    """A JSON line whose active characters are escaped; they can only stand inside strings."""
    if line.isascii():
        return line
    return _ACTIVE.sub(lambda found: f"\\u{ord(found[0]):04x}", line.decode("utf-8")).encode()


def printable(text: str) -> str:
    """Text for a terminal: what could move its cursor or change its colours is shown as an escape."""
    return _UNPRINTABLE.sub(lambda found: f"\\x{ord(found[0]):02x}", readable(text))


def without_userinfo(text: str) -> str:
    """URLs inside a text, without the user and password."""
    return _USERINFO.sub(r"\1***@", text) if "@" in text else text


@lru_cache(maxsize=256)  # names of fields are always the same
def is_secret(name: str) -> bool:
    """Whether a value under this name is likely a secret."""
    name = name.lower()
    squeezed = name.replace("-", "").replace("_", "")
    return name in _SECRET_NAMES or squeezed.endswith("apikey") or any(word in squeezed for word in _SECRET_WORDS)


def redact_query(query: str) -> str:
    """A raw query with the values of secret parameters replaced.

    Parameters may be separated by `;` too, and a value that is a URL may have secrets of its own.
    """
    return _PARAMETER.sub(_redact_pair, query)


def _redact_pair(found: re.Match[str]) -> str:
    raw, equals, value = found[0].partition("=")
    secret = equals and (is_secret(unquote_plus(raw)) or _holds_secret(value))
    return f"{raw}={REDACTED}" if secret else found[0]


def _holds_secret(value: str) -> bool:
    """Whether an encoded value is a URL with a user, or has secret parameters."""
    if "%" not in value and "=" not in value and "@" not in value:
        return False
    text = unquote_plus(unquote_plus(value))
    inner = (
        name.rpartition("?")[2] for name, equals, _ in (one.partition("=") for one in _INNER.split(text)) if equals
    )
    return _USERINFO.search(text) is not None or any(is_secret(name) for name in inner)
