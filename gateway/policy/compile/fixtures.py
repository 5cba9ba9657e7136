"""Fixtures of sandboxes: how their files become what calls are answered from.

All that a fixture file names lies in its own directory or below it. Everything is read when policies are, and is part
of their version.
"""

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from gateway.core import policy as core
from gateway.core import sandbox
from gateway.core.http.fields import HOP_BY_HOP, LIMIT_FIELDS
from gateway.core.sandbox import samples
from gateway.policy.beside import beside
from gateway.policy.files import hindrance, is_directory, is_regular, read_text
from gateway.policy.findings import Findings, Where, quoted
from gateway.policy.gather import Draft
from gateway.policy.models.fixtures import AnswerModel, FixtureFile, ListOfRecords, Members, RecordsModel
from gateway.policy.nodes import Node, compose
from gateway.policy.validate import validate
from gateway.policy.words import did_you_mean

DEFAULT_FILE = "fixtures.yaml"
MAX_BODY_BYTES, MAX_TOTAL_BYTES = 1024 * 1024, 8 * 1024 * 1024
MAX_DELAY_US = 60_000_000
_OURS = {name.decode() for name in HOP_BY_HOP | LIMIT_FIELDS} | {"content-length", "x-request-id", "x-gateway-sandbox"}
_CONTENT_TYPES = {".json": "application/json", ".xml": "application/xml", ".csv": "text/csv", ".txt": "text/plain"}


def compile_fixtures(node: Node, draft: Draft) -> sandbox.Fixtures | None:
    """What the file or directory says that `node` names; None when something about it is wrong, which is reported."""
    path = beside(node, str(node.value))
    path = path / DEFAULT_FILE if is_directory(path) else path
    if not is_regular(path):
        draft.findings.error(node.where, "not-found", f"there is no file {quoted(str(path))}", hindrance(path))
        return None
    return _FixturesOf(path, draft).compile()


class _FixturesOf:
    """One fixture file on its way."""

    def __init__(self, path: Path, draft: Draft) -> None:
        self.path = path
        self.draft = draft
        self.findings: Findings = draft.findings
        self.digest = blake2b(digest_size=6)
        self.left_bytes = MAX_TOTAL_BYTES

    def compile(self) -> sandbox.Fixtures | None:
        """The fixtures, None when there are findings."""
        before = len(self.findings.errors)
        root = self._document(self.path)
        model: FixtureFile | None = validate(root, FixtureFile, self.findings) if root is not None else None
        if root is None or model is None:
            return None
        records = {name: self._records(name, one, root.at("records", name)) for name, one in model.records.items()}
        answers = [self._answer(one, root.at("answers", at), records) for at, one in enumerate(model.answers)]
        if len(self.findings.errors) > before:
            return None
        return sandbox.Fixtures([one for one in answers if one], str(self.path), self.digest.hexdigest())

    # -- files

    def _document(self, path: Path) -> Node | None:
        """A YAML or JSON file as a tree. JSON is YAML but for tabs between its tokens."""
        self._follow(path)
        earlier = len(self.findings.errors)
        text = read_text(path, self.findings)
        if text is None:
            return None
        self._hash(text.encode())
        root = compose(text.replace("\t", " ") if path.suffix == ".json" else text, str(path), self.findings)
        if root is None and len(self.findings.errors) == earlier:
            self.findings.error(Where(str(path), 1, 1), "empty", "the file is empty")
        return root

    def _inside(self, node: Node) -> Path | None:
        """The file that `node` names, which must lie below the directory of the fixtures."""
        name = str(node.value)
        path = self.path.parent / name
        if not _below(self.path.parent, name):
            message = f"{quoted(name)} leads out of the directory of the fixtures"
            self.findings.error(node.where, "outside", message, "name a file beside this one, or below")
            return None
        if not is_regular(path):
            self.findings.error(node.where, "not-found", f"there is no file {quoted(name)}", hindrance(path))
            return None
        return path

    def _bytes(self, node: Node) -> bytes:
        path = self._inside(node)
        if path is None:
            return b""
        self._follow(path)
        try:
            with path.open("rb") as file:
                content = file.read(MAX_BODY_BYTES + 1)
        except OSError as error:
            self.findings.error(node.where, "unreadable", f"cannot be read: {error.strerror or 'input error'}")
            return b""
        if len(content) > MAX_BODY_BYTES:
            self.findings.error(node.where, "too-large", f"larger than {MAX_BODY_BYTES // 1024 // 1024} MiB")
            return b""
        self._hash(content)
        self._count(content, node)
        return content

    def _follow(self, path: Path) -> None:
        self.draft.beside[str(path)] = None

    def _hash(self, content: bytes) -> None:
        for hashed in (self.digest, self.draft.content):
            hashed.update(b"%d:%b" % (len(content), content))

    def _count(self, content: bytes, node: Node) -> None:
        had, self.left_bytes = self.left_bytes, self.left_bytes - len(content)
        if had >= 0 > self.left_bytes:
            most = MAX_TOTAL_BYTES // 1024 // 1024
            self.findings.error(node.where, "too-large", f"all records and bodies together are larger than {most} MiB")

    # -- records

    def _records(self, name: str, model: RecordsModel, node: Node) -> samples.Records:
        """The records by id; in both forms each is a mapping whose id is there once."""
        both = sorted(set(model.required) & set(model.optional))
        for member in both:
            message = f"{quoted(member)} is required and optional"
            self.findings.error(node.at("optional", member).named, "conflicting-keys", message)
        if model.items and model.file:
            self.findings.error(node.at("file").named, "conflicting-keys", "give items or file, not both")
        by_id: dict[str, samples.Record] = {}
        for members, place in self._items(model, node):
            self._add(by_id, model.id, members, place)
        return samples.Records(name, model.id, by_id, model.required, model.optional)

    def _items(self, model: RecordsModel, node: Node) -> Iterator[tuple[Members, Node]]:
        items, place = model.items, node.at("items")
        if model.file:
            path = self._inside(node.at("file"))
            root = self._document(path) if path is not None else None
            found = validate(root, ListOfRecords, self.findings) if root is not None else None
            if root is None or found is None:
                return
            items, place = found, root
        yield from ((members, place.at(index)) for index, members in enumerate(items))

    def _add(self, by_id: dict[str, samples.Record], id_member: str, members: Members, place: Node) -> None:
        value = members.get(id_member)
        if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
            hint = "text or a whole number"
            self.findings.error(place.where, "missing-key", f"the record has no {quoted(id_member)}", hint)
            return
        if str(value) in by_id:
            where = place.at(id_member).where
            self.findings.error(where, "duplicate-name", f"record {quoted(str(value))} stands twice")
        text = samples.as_json(members)
        self._count(text, place)
        by_id[str(value)] = samples.Record(members, text)

    # -- answers

    def _answer(self, model: AnswerModel, node: Node, records: Mapping[str, samples.Records]) -> sandbox.Answer | None:
        content = self._content(model, node, records)
        status = model.status or 0
        if model.delay > MAX_DELAY_US:
            self.findings.error(node.at("delay").where, "out-of-range", "a delay must be at most 60s")
        if content is None:
            return None
        if status in sandbox.BODILESS and isinstance(content, samples.Whole) and content.body:
            self.findings.error(node.at("status").where, "conflicting-keys", f"an answer with {status} has no body")
        return sandbox.Answer(
            path=core.PathPattern(segments=model.match.path),
            content=content,
            methods=frozenset(model.match.method),
            query=_conditions(model.match.query),
            headers=_conditions(model.match.header),
            status=status,
            content_type="" if "content-type" in model.headers else _content_type(model),
            fields=self._fields(model, node),
            delay_us=model.delay,
        )

    def _content(
        self, model: AnswerModel, node: Node, records: Mapping[str, samples.Records]
    ) -> samples.Whole | samples.Listed | samples.Found | samples.Written | None:
        """What makes the body: exactly one thing, or nothing for an answer without one."""
        chosen = [name for name in ("list", "read", "write", "body", "file") if node.child(name) is not None]
        if len(chosen) > 1:
            message = f"give only one of {', '.join(chosen)}"
            self.findings.error(node.at(chosen[1]).named, "conflicting-keys", message)
            return None
        kind = chosen[0] if chosen else "body"
        if kind == "file":
            return samples.Whole(self._bytes(node.at("file")))
        if kind == "body":
            return samples.Whole(b"" if model.body is None else _body(model.body))
        named = node.at(kind)
        found = records.get(str(named.value))
        if found is None:
            hint = did_you_mean(str(named.value), records)
            self.findings.error(named.where, "undefined-name", f"records {quoted(named.value)} are not defined", hint)
            return None
        parameter = self._parameter(model, node, kind)
        if kind == "list":
            return samples.Listed(found, model.wrap or "", min(model.page, model.most), model.most)
        return samples.Found(found, parameter) if kind == "read" else samples.Written(found, parameter)

    def _parameter(self, model: AnswerModel, node: Node, kind: str) -> str:
        """The name of the last `{name}` of the path, which says which record is meant; "" when there is none."""
        names = [segment[1:-1] for segment in model.match.path if segment.startswith("{")]
        where = node.at("match", "path").where
        if kind == "read" and not names:
            message = "nothing in the path says which record is read"
            self.findings.error(where, "no-path-parameter", message, "/orders/{id}")
        if kind == "write" and not names and set(model.match.method) - {"POST"}:
            message = "nothing in the path says which record is written over"
            self.findings.error(where, "no-path-parameter", message, "only POST writes new ones")
        return names[-1] if names else ""

    def _fields(self, model: AnswerModel, node: Node) -> tuple[tuple[str, str], ...]:
        """Header fields of the answer. Those of the message itself and of limits are the gateway's."""
        written = node.at("headers").value
        fields = []
        for name, place in written.items() if model.headers and isinstance(written, dict) else ():
            value = str(place.value)
            fields.append((name, value))
            if name.lower() in _OURS:
                self.findings.error(place.named, "bad-header-name", f"{name} is the gateway's to say")
            elif not (value.isascii() and value.isprintable() and value == value.strip()):
                self.findings.error(place.where, "bad-header-value", f"{quoted(value)} is no value of a header")
        return tuple(fields)


def _below(home: Path, name: str) -> bool:
    """Whether a relative name leads to something in this directory or below, links followed."""
    try:
        return not Path(name).is_absolute() and (home / name).resolve().is_relative_to(home.resolve())
    except (OSError, RuntimeError):  # a circle of links
        return False


def _conditions(written: Mapping[str, str]) -> tuple[tuple[str, str | None], ...]:
    return tuple((name, None if value == "*" else value) for name, value in written.items())


def _body(value: Any) -> bytes:
    """Text is the body as it is, everything else as JSON."""
    return value.encode("utf-8", "replace") if isinstance(value, str) else samples.as_json(value)


def _content_type(model: AnswerModel) -> str:
    if model.file:
        return _CONTENT_TYPES.get(Path(model.file).suffix, "application/octet-stream")
    return "text/plain; charset=utf-8" if isinstance(model.body, str) else "application/json"
