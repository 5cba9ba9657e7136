"""The sandbox: what is answered in an upstream's place. Sample records for reads, checks for writes, errors to choose.

Nothing here changes: the same call gets the same answer however often it is made, and no write has an effect. How
fixtures are written is told by `docs/sandbox.md`; `gateway.policy.compile.fixtures` makes them from files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from gateway.core.policy import PathPattern
from gateway.core.problems import SANDBOX_NO_FIXTURE, Refusal
from gateway.core.routing.match import match_path
from gateway.core.sandbox.samples import Asked, Found, Listed, Whole, Written, parameters_of

MARK = ("X-Gateway-Sandbox", "true")
BODILESS = (204, 304)
_OF_WRITES = {"POST": 201, "DELETE": 204}


@dataclass(frozen=True, slots=True)
class When:
    """Which calls of a route go to the sandbox: by what one header or one key part says.

    header, key  lower-case field name, or name of a key part; exactly one is not ""
    values       whole values that do
    prefix       what such values begin with; "" = only `values` count
    """

    header: str = ""
    key: str = ""
    values: frozenset[str] = frozenset()
    prefix: str = ""

    def holds(self, parts: Mapping[str, str | None], headers: Any) -> bool:
        """Of a repeated field one value is enough: a write that may be meant for the sandbox is kept from the upstream.

        headers  as in `resolve.Asking`
        """
        said = headers.getall(self.header, ()) if self.header else (parts.get(self.key) or "",)
        return any(one in self.values or (self.prefix and one.startswith(self.prefix)) for one in said)


class Reply(NamedTuple):
    """An answer. `fields` are those of its content and what the fixture says; `delay_us` is waited before."""

    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes
    delay_us: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered to calls for which all conditions hold.

    methods  upper case; GET stands for HEAD too; empty = any
    query, headers  (name, value or None for "present")
    content  makes the body
    status   0 = what one expects of such a call: 200, or for writes 201 of POST and 204 of DELETE
    content_type  of a body; "" = `fields` say it
    fields   of the answer, without those of its length
    """

    path: PathPattern
    content: Whole | Listed | Found | Written
    methods: frozenset[str] = frozenset()
    query: tuple[tuple[str, str | None], ...] = ()
    headers: tuple[tuple[str, str | None], ...] = ()
    status: int = 0
    content_type: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    delay_us: int = 0

    def fits(self, asked: Asked) -> Mapping[str, str] | None:
        """The path parameters if this answers the call, else None."""
        method = "GET" if asked.method == "HEAD" else asked.method
        if self.methods and method not in self.methods:
            return None
        query = (parameters_of(asked.query) or {}) if self.query else {}
        if not (_holds(self.query, query) and _holds(self.headers, asked.headers)):
            return None
        return match_path(self.path, asked.path, asked.path.split("/"))

    def reply(self, asked: Asked, parameters: Mapping[str, str]) -> Reply | Refusal:
        """The answer to a call that fits, or what is wrong with it."""
        body = self.content.make(asked, parameters)
        if isinstance(body, Refusal):
            body.extra_fields = (MARK,)
            return body
        usual = _OF_WRITES.get(asked.method, 200) if isinstance(self.content, Written) else 200
        status = self.status or usual
        typed = self.content_type and status not in BODILESS
        fields = (("Content-Type", self.content_type), *self.fields, MARK) if typed else (*self.fields, MARK)
        return Reply(status, fields, body, self.delay_us)


class Fixtures:
    """All that the sandbox of a route answers. Equal when they were made from the same texts.

    source  the file
    digest  of everything they were read from
    """

    __slots__ = ("_answers", "_digest", "source")

    def __init__(self, answers: Sequence[Answer], source: str, digest: str) -> None:
        self._answers = tuple(answers)
        self.source = source
        self._digest = digest

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fixtures) and other._digest == self._digest

    def __hash__(self) -> int:
        return hash(self._digest)

    def __str__(self) -> str:
        return self._digest

    def __len__(self) -> int:
        return len(self._answers)

    def reply(self, asked: Asked) -> Reply | Refusal:
        """The first answer that fits, or what is wrong with the call."""
        for answer in self._answers:
            parameters = answer.fits(asked)
            if parameters is not None:
                return answer.reply(asked, parameters)
        detail = "No answer of the fixtures fits this method and path."
        return Refusal(SANDBOX_NO_FIXTURE, detail, "sandbox", extra_fields=(MARK,))


@dataclass(frozen=True, slots=True)
class Sandbox:
    """Which calls of a route are answered from which fixtures."""

    when: When
    fixtures: Fixtures


def _holds(wanted: Sequence[tuple[str, str | None]], said: Any) -> bool:
    found = [(said.get(name), value) for name, value in wanted]
    return all(have is not None and value in (None, have) for have, value in found)
