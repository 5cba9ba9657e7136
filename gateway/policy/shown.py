"""What may be shown of a line that something is wrong with: everything but the secrets that stand in it."""

import re
from collections.abc import Sequence

MAX_CHARS = 1000
"""A longer line is not shown: nobody reads it, and looking for secrets in it takes time by its square."""

_USER = re.compile(r"""://:[^\s'"]*|[^\s'"/{\[,]*@""")
"""User and password in a URL, or a password whose host was forgotten."""
_QUERY = re.compile(r"""(://[^\s'"?]*\?)[^\s'"]+""")
_PRIVATE = r"\w*(?:credential|hash|passw|pep+er|secret|tok)\w*"
_VALUE = r"""["']?[ \t]*:[ \t]+)(?!env:|file:)("[^"]*"?|'[^']*'?|[\[{].*|[^,}\s][^,}]*)"""
_SECRETS = re.compile(rf"({_PRIVATE}{_VALUE}", re.IGNORECASE)
_SECRETS_AND_KEYS = re.compile(rf"((?:{_PRIVATE}|\b(?:keys?|v\w+)){_VALUE}", re.IGNORECASE)
_QUOTED = re.compile(r"'(.+?)…?'")
_WITH_SECRETS = ("authentication", "credentials")
_NAMED = re.compile(r"(?:breakers|error_classes|keys|limits|retries|upstreams):")
"""Sections whose entries have names that operators choose."""
_ENTRY = re.compile(r"""( +)["']?[\w.-]+["']?:(?= *\{)""")


def shown_line(lines: Sequence[str], number: int) -> str:
    """This line of a file, counted from 1, with `***` for what may be secret; "" when it is too long."""
    line = lines[number - 1]
    if len(line) > MAX_CHARS:
        return ""
    at = next((at for at in reversed(range(number)) if lines[at][:1] not in ("", " ", "\t", "#", "-")), 0)
    names = _SECRETS_AND_KEYS if lines[at].startswith(_WITH_SECRETS) else _SECRETS
    end = _end_of_name(lines[at:number])
    return line[:end] + without_secrets(line[end:], names)


def shown_col(line: str, shown: str, col: int) -> int:
    """Where in what is shown of a line stands what is in its column `col`, both counted from 1."""
    same = next((at for at, pair in enumerate(zip(line, shown, strict=False)) if pair[0] != pair[1]), len(shown))
    if col <= same or not shown:
        return col
    rests = (without_secrets(line[col - 1 :], names) for names in (_SECRETS, _SECRETS_AND_KEYS))
    return next((len(shown) - len(rest) + 1 for rest in rests if shown.endswith(rest)), same + 1)


def shown_message(message: str, line: str, shown: str) -> str:
    """What is said of a line, without what is not shown of it."""
    without = without_secrets(message)
    return _QUOTED.sub(lambda found: "'***'" if _only_secret(found[1], line, shown) else found[0], without)


def without_secrets(text: str, names: re.Pattern[str] | None = None) -> str:
    """The text with `***` for what looks like a secret in a URL and for the values of these names."""
    text = _QUERY.sub(r"\1***", _USER.sub(lambda found: "***@" if found[0].endswith("@") else "***", text))
    return names.sub(r"\1***", text) if names is not None else text


def _end_of_name(section: Sequence[str]) -> int:
    """Where in its last line the name of a limit, an upstream … ends, 0 = there is none: a limit for tokens may be
    called so, and what it says is no secret."""
    entry = _ENTRY.match(section[-1])
    if entry is None or not _NAMED.match(section[0]):
        return 0
    first = next(line for line in section[1:] if line.strip() and not line.lstrip().startswith("#"))
    return entry.end() if len(entry[1]) == len(first) - len(first.lstrip()) else 0


def _only_secret(text: str, line: str, shown: str) -> bool:
    """Whether a text stands in the line, but neither in what is shown of it nor as a key."""
    return text in line and text not in shown and not re.search(rf"""{re.escape(text)}["']?[ \t]*:""", line)
