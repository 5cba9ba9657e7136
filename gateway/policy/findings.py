"""What is wrong with a file, and where: values that collect, sort and print themselves.

Nothing here knows YAML or policies, so that every reader of files can report in the same form.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from gateway.policy.shown import shown_col, shown_line, shown_message, without_secrets

MAX_ERRORS = 1000
MISSING_SECRET = "missing-secret"
"""The code of what says that a reference leads to no secret."""
SECRET_CODES = frozenset({"inline-secret"})
"""Codes of findings whose line must not be repeated."""


class Where(NamedTuple):
    """A place in a file, counted from 1. Line 0 = no place inside it: an option, a variable, a missing file."""

    file: str
    line: int = 0
    col: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class PolicyError:
    """One finding.

    code     stable kebab-case word, for machines
    message  one sentence without the position; never contains a secret
    hint     what to do about it, or ""
    excerpt  the line of the file it points at, or "" (also when that line may hold a secret)
    caret    the column of `excerpt` that is meant, from 1; another than `col` behind a secret that is not shown
    """

    file: str
    line: int
    col: int
    code: str
    message: str
    hint: str = ""
    excerpt: str = ""
    caret: int = 0

    @property
    def position(self) -> str:
        """`file:line:col`, as far as known."""
        return f"{self.file}:{self.line}:{self.col}" if self.line else self.file

    @property
    def text(self) -> str:
        """The message with its hint."""
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def __str__(self) -> str:
        return f"{self.position}: {self.text} [{self.code}]"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {name: getattr(self, name) for name in ("file", "line", "col", "code", "message", "hint")}


class TooManyErrors(Exception):
    """Reading on is of no use; the errors so far are in the findings."""


class PolicyErrors(Exception):
    """Files that cannot be used: every error found, in file order. Nothing was changed."""

    def __init__(self, errors: Sequence[PolicyError], warnings: Sequence[PolicyError] = ()) -> None:
        self.errors = tuple(errors)
        self.warnings = tuple(warnings)
        super().__init__("\n".join(str(error) for error in self.errors))


@dataclass(slots=True)
class Findings:
    """Collects errors and warnings while files are read; asked for them once, sorted."""

    errors: list[PolicyError] = field(default_factory=list)
    warnings: list[PolicyError] = field(default_factory=list)
    lines: dict[str, Sequence[str]] = field(default_factory=dict)
    """The lines of every file read, for excerpts; the order of files is the order of findings."""
    need_secrets: bool = True
    """Whether a reference that leads to no secret is an error."""
    missing: set[PolicyError] = field(default_factory=set)
    """Such references, if they are none."""

    def error(self, where: Where, code: str, message: str, hint: str = "") -> None:
        """Something that stops the files from being used. Raises TooManyErrors after MAX_ERRORS of them."""
        found = PolicyError(*where, code, message, hint)
        if code == MISSING_SECRET and not self.need_secrets:
            self.missing.add(found)
            return
        self.errors.append(found)
        if len(self.errors) == MAX_ERRORS:
            self.errors.append(PolicyError(*where, "too-many-errors", f"stopped after {MAX_ERRORS} errors"))
            raise TooManyErrors

    def warn(self, where: Where, code: str, message: str, hint: str = "") -> None:
        """Something that works but is probably not meant."""
        self.warnings.append(PolicyError(*where, code, message, hint))

    def sorted_errors(self) -> tuple[PolicyError, ...]:
        """Errors in file order, each once, with their line."""
        return self._in_order(self.errors)

    def sorted_warnings(self) -> tuple[PolicyError, ...]:
        """Warnings in file order, each once, with their line."""
        return self._in_order(self.warnings)

    def raise_errors(self) -> None:
        """Raise PolicyErrors if there is any error."""
        if self.errors:
            raise PolicyErrors(self.sorted_errors(), self.sorted_warnings())

    def _in_order(self, found: Iterable[PolicyError]) -> tuple[PolicyError, ...]:
        rank = {name: number for number, name in enumerate(self.lines)}
        ordered = sorted(dict.fromkeys(found), key=lambda item: (rank.get(item.file, len(rank)), item.line, item.col))
        return tuple(self._shown(item) for item in ordered)

    def _shown(self, item: PolicyError) -> PolicyError:
        """With its line, and without the secrets that stand in it."""
        lines = self.lines.get(item.file, ())
        if not 0 < item.line <= len(lines):
            return replace(item, message=without_secrets(item.message))
        line = lines[item.line - 1]
        excerpt = shown_line(lines, item.line)
        message = shown_message(item.message, line, excerpt)
        if item.code in SECRET_CODES:
            return replace(item, message=message)
        return replace(item, message=message, excerpt=excerpt, caret=shown_col(line, excerpt, item.col))


LONGEST_SHOWN = 60
"""Characters of a value in a message; what is longer is no word that somebody mistyped."""


def quoted(value: object, most: int = LONGEST_SHOWN) -> str:
    """A value as it may stand in a message: quoted, on one line, bounded."""
    text = str(value) if isinstance(value, str) else repr(value)
    text = text.encode("unicode_escape").decode() if not text.isprintable() else text
    return f"'{text[:most]}…'" if len(text) > most else f"'{text}'"
