"""YAML text to a tree that knows where every value stands, read strictly.

PyYAML's C parser turns the text into events; the tree is made from them here, so that nothing that YAML allows but
nobody means gets through: scalars mean what YAML 1.2's core schema says at most (`no`, `1:30`, `010`, `0x1F` and dates
are text), there are no tags, a key may stand only once, and size, nesting and what aliases expand to are bounded before
anything is expanded.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NoReturn

import yaml

from gateway.policy.findings import Findings, Where, quoted

MAX_DEPTH = 32
MAX_VALUES = 100_000

Scalar = None | bool | int | float | str
Plain = Scalar | list["Plain"] | dict[str, "Plain"]

_LOADER = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
_WORDS: dict[str, Scalar] = {"": None, "~": None, "null": None, "true": True, "false": False}
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})").fullmatch
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]{0,11})\.[0-9]{1,12}").fullmatch


@dataclass(slots=True)
class Node:
    """One value and its place. `key` is the place of the key that it stands under, if any.

    value   a scalar, a list of nodes, or nodes by key
    size    how many values it consists of, aliases expanded
    height  how deep it nests; a scalar has 1
    """

    where: Where
    value: "Scalar | list[Node] | dict[str, Node]"
    key: Where | None = None
    size: int = 1
    height: int = 1

    @property
    def named(self) -> Where:
        """Where to point when the value as a whole is meant: its key if it has one."""
        return self.key or self.where

    def child(self, step: str | int) -> "Node | None":
        """The value under a key or at an index, None when there is none."""
        if isinstance(self.value, dict):
            return self.value.get(str(step))
        if isinstance(self.value, list) and isinstance(step, int) and step < len(self.value):
            return self.value[step]
        return None

    def at(self, *steps: str | int) -> "Node":
        """The value at a path, or the last one on the way that exists. Steps that lead nowhere are passed over."""
        node = self
        for step in steps:
            node = node.child(step) or node
        return node

    def plain(self) -> Plain:
        """The value as plain Python objects, without the places in the file."""
        value = self.value
        if isinstance(value, dict):
            return {name: child.plain() for name, child in value.items()}
        if isinstance(value, list):
            return [child.plain() for child in value]
        return value


class _Unreadable(Exception):
    """The rest of this document cannot be read; the finding is already recorded."""


def compose(text: str, file: str, findings: Findings) -> Node | None:
    """The tree of a document, None when it cannot be read or is empty. What is wrong is added to `findings`."""
    composer = _Composer(file, findings, yaml.parse(text, Loader=_LOADER))
    try:
        return composer.document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = Where(file, mark.line + 1, mark.column + 1) if mark else Where(file)
        findings.error(where, "yaml-syntax", _syntax_message(error), _syntax_hint(error, text))
    except yaml.YAMLError as error:
        findings.error(Where(file), "yaml-syntax", f"this is not YAML: {quoted(str(error), 120)}")
    except _Unreadable:
        pass
    return None


def resolve(text: str) -> Scalar:
    """What an unquoted scalar means. Numbers are plain decimal; whatever else looks special is text."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER(text):
        return int(text)
    return float(text) if _DECIMAL(text) else text


def _syntax_message(error: yaml.MarkedYAMLError) -> str:
    problem = (error.problem or "cannot be read").rstrip()
    if "cannot start any token" in problem:
        return "this is not YAML: a tab or a special character stands where a key or value should begin"
    context = f", {error.context.strip()}" if error.context else ""
    mark = error.context_mark
    since = f" that began on line {mark.line + 1}" if context and mark else ""
    return f"this is not YAML: {problem}{context}{since}"


def _syntax_hint(error: yaml.MarkedYAMLError, text: str) -> str:
    """What is most often meant by this mistake, or ""."""
    problem, mark, began = error.problem or "", error.problem_mark, error.context_mark
    lines = text.splitlines()
    line = lines[mark.line] if mark and mark.line < len(lines) else ""
    if "cannot start any token" in problem:
        return "indent with blanks" if mark and line[mark.column : mark.column + 1] == "\t" else ""
    if "',' or '}'" in problem:
        return 'close it, or put text with { } in quotes: "/crm/{id}"'
    if "expected key" in problem and mark and began and not line[: mark.column].strip():
        return f"indented differently from line {began.line + 1}"
    if "mapping values are not allowed" in problem:
        return 'indent it like the line before; put text with ": " in quotes'
    return ""


@dataclass(slots=True)
class _Composer:
    """Makes the tree from the parser's events, one recursion per level of nesting."""

    file: str
    findings: Findings
    events: Iterator[yaml.Event]
    anchors: dict[str, Node | None] = field(default_factory=dict)  # None: its value is not complete yet
    values: int = 0

    def document(self) -> Node | None:
        next(self.events)
        if isinstance(next(self.events), yaml.StreamEndEvent):
            return None
        root = self._node(next(self.events), 1)
        next(self.events)
        further = next(self.events)
        if not isinstance(further, yaml.StreamEndEvent):
            self._stop(
                further, "many-documents", "a second YAML document begins here", "one document a file; remove ---"
            )
        return root

    def _node(self, event: yaml.Event, depth: int) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, depth)
        assert isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent)
        self._count(event, 1)
        if event.anchor:
            self.anchors[event.anchor] = None
        if event.tag:
            self.findings.error(
                self._where(event), "tag", f"tags like {quoted(event.tag)} are not allowed", "remove it"
            )
        if isinstance(event, yaml.ScalarEvent):
            if "\0" in event.value:  # written as an escape: neither paths nor fields can hold one
                self._stop(event, "control-character", "control character U+0000")
            node = Node(self._where(event), resolve(event.value) if event.implicit[0] else event.value)
        else:
            if depth > MAX_DEPTH:
                self._stop(event, "too-deep", f"nested more than {MAX_DEPTH} levels deep")
            node = (
                self._mapping(event, depth) if isinstance(event, yaml.MappingStartEvent) else self._list(event, depth)
            )
        if event.anchor:
            self.anchors[event.anchor] = node
        return node

    def _list(self, start: yaml.Event, depth: int) -> Node:
        items = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        return self._measured(Node(self._where(start), items), items)

    def _mapping(self, start: yaml.Event, depth: int) -> Node:
        entries: dict[str, Node] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            name, key = self._key(event), self._where(event)
            node = self._node(next(self.events), depth + 1)
            if name in entries:
                first = entries[name].named
                lines = f"on lines {first.line} and {key.line}" if first.line != key.line else f"on line {key.line}"
                message = f"key {quoted(name)} is given twice, {lines}"
                self.findings.error(key, "duplicate-key", message)
                entries[name] = self._joined(entries[name], node)
                continue
            node.key = key
            entries[name] = node
        return self._measured(Node(self._where(start), entries), list(entries.values()))

    def _joined(self, first: Node, second: Node) -> Node:
        """What stands under a key that is given twice: names defined in either are known, so that nothing follows from
        that one error."""
        if not (isinstance(first.value, dict) and isinstance(second.value, dict)):
            return first
        both = {**second.value, **first.value}
        return self._measured(Node(first.where, both, first.key), list(both.values()))

    def _key(self, event: yaml.Event) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            self._stop(event, "bad-key", "a key must be one word of text")
        self._count(event, 1)
        if event.tag or event.anchor:
            self._stop(event, "bad-key", "a key can have neither a tag nor an anchor")
        if event.value == "<<" and event.implicit[0]:
            self._stop(event, "merge-key", "merge keys (<<) are not supported", "write the keys out")
        return str(event.value)

    def _alias(self, event: yaml.AliasEvent, depth: int) -> Node:
        name = event.anchor or ""
        if name not in self.anchors:
            self._stop(event, "unknown-alias", f"nothing is anchored as {quoted('&' + name)}")
        target = self.anchors[name]
        if target is None:
            self._stop(event, "alias-cycle", f"alias {quoted('*' + name)} stands inside the value it stands for")
        if depth + target.height - 1 > MAX_DEPTH:
            self._stop(event, "too-deep", f"aliases nest more than {MAX_DEPTH} levels deep")
        self._count(event, target.size)
        return replace(target, key=None)

    def _count(self, event: yaml.Event, values: int) -> None:
        self.values += values
        if self.values > MAX_VALUES:
            self._stop(event, "too-many-values", f"more than {MAX_VALUES:,} values, aliases expanded")

    def _measured(self, node: Node, children: list[Node]) -> Node:
        for child in children:
            node.size += child.size
            node.height = max(node.height, child.height + 1)
        return node

    def _where(self, event: yaml.Event) -> Where:
        mark = event.start_mark
        assert mark is not None
        return Where(self.file, mark.line + 1, mark.column + 1)

    def _stop(self, event: yaml.Event, code: str, message: str, hint: str = "") -> NoReturn:
        self.findings.error(self._where(event), code, message, hint)
        raise _Unreadable
