"""Policy files read and put together: every entry of every section by name, whichever file it stands in."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

from gateway.core.limits import VARIANT
from gateway.core.webhooks.intake import LIMIT as OF_INTAKE
from gateway.policy.files import policy_files, read_text, shown
from gateway.policy.findings import Findings, Where, quoted
from gateway.policy.models.policies import ENTRY_TYPES
from gateway.policy.models.scalars import is_name
from gateway.policy.models.settings import SettingsFile
from gateway.policy.nodes import Node, compose
from gateway.policy.validate import validate
from gateway.policy.words import did_you_mean

SINGULAR = {
    "authentication": "scheme",
    "keys": "key part",
    "limits": "limit",
    "breakers": "breaker",
    "retries": "retry policy",
    "error_classes": "error class",
    "upstreams": "upstream",
    "credentials": "credential",
    "routes": "route",
}
_ONLY_SETTINGS = frozenset(SettingsFile.model_fields) - {"version"}


@dataclass(slots=True)
class Entry:
    """One named thing. `model` is None when it is not valid, which has been reported."""

    name: str
    node: Node
    model: Any
    used: bool = False

    @property
    def source(self) -> str:
        """`file:line` of its definition."""
        return str(self.node.named)


@dataclass(slots=True)
class Draft:
    """Everything that was written, before names are resolved.

    again     entries of a name that an earlier one has: only looked at for what else is wrong with them
    complete  whether every file could be read; if not, a name that is not found may be defined in an unreadable one
    broken    sections that are not what a section should be, in some file; the same goes for the names in them
    env       environment variables, for secrets by reference
    content   hash over everything that was read
    beside    files that the policies name and that are watched with them
    """

    findings: Findings
    env: Mapping[str, str] = field(default_factory=dict)
    sections: dict[str, dict[str, Entry]] = field(default_factory=lambda: {name: {} for name in ENTRY_TYPES})
    again: list[tuple[str, Entry]] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    complete: bool = True
    broken: set[str] = field(default_factory=set)
    content: blake2b = field(default_factory=lambda: blake2b(digest_size=6))
    beside: dict[str, None] = field(default_factory=dict)

    def find(self, section: str, name: str, where: Where) -> Entry | None:
        """The entry that a reference at `where` means; an undefined name is reported."""
        entry = self.sections[section].get(name)
        if entry is not None:
            entry.used = True
        elif self.complete and section not in self.broken:
            hint = did_you_mean(name, self.sections[section])
            self.findings.error(where, "undefined-name", f"{SINGULAR[section]} {quoted(name)} is not defined", hint)
        return entry

    def valid(self, section: str) -> Iterator[Entry]:
        """The entries that have a model, in file order."""
        return (entry for entry in self.sections[section].values() if entry.model is not None)


def gather(
    paths: Iterable[Path],
    findings: Findings,
    upstream_url: str | None = None,
    env: Mapping[str, str] | None = None,
    held: Mapping[Path, bytes] | None = None,
) -> Draft:
    """Read the files that `paths` stand for.

    upstream_url  put in the place of every upstream's URL, as the option --upstream asks for
    held          what some of them would hold, if they were there
    """
    draft = Draft(findings, env or {})
    for path in policy_files(paths, findings):
        root = _read(path, draft, (held or {}).get(path))
        if root is None:
            draft.complete = False
            continue
        if upstream_url is not None:
            _redirect(root, upstream_url)
        draft.content.update(json.dumps(root.plain()).encode())
        _add_sections(root, draft)
    return draft


def plain(draft: Draft) -> dict[str, Any]:
    """Everything that was written, as one document. References to secrets stay references."""
    sections: dict[str, Any] = {"version": 1}
    for name, entries in draft.sections.items():
        if entries:
            written = {entry.name: entry.node.plain() for entry in entries.values()}
            sections[name] = list(written.values()) if name == "routes" else written
    return sections


def _read(path: Path, draft: Draft, held: bytes | None) -> Node | None:
    """The mapping that the file holds."""
    findings = draft.findings
    text = read_text(path, findings, held)
    if text is None:
        return None
    file = shown(path)
    draft.files.append(file)
    earlier_errors = len(findings.errors)
    root = compose(text, file, findings)
    if root is not None and isinstance(root.value, dict):
        return root
    if len(findings.errors) == earlier_errors:
        where, code = (Where(file, 1, 1), "empty") if root is None else (root.where, "wrong-type")
        message = "the file is empty" if root is None else "expected a mapping of sections"
        findings.error(where, code, message, f"sections: {', '.join(ENTRY_TYPES)}")
    return None


def _redirect(root: Node, url: str) -> None:
    upstreams = root.child("upstreams")
    if upstreams is not None and isinstance(upstreams.value, dict):
        for upstream in upstreams.value.values():
            if isinstance(upstream.value, dict):
                upstream.value["url"] = Node(Where("--upstream"), url)


def _add_sections(root: Node, draft: Draft) -> None:
    assert isinstance(root.value, dict)
    settings = [node for name, node in root.value.items() if name in _ONLY_SETTINGS]
    if settings and not root.value.keys() & ENTRY_TYPES.keys():
        message = "the file holds settings, not policies"
        draft.findings.error(
            settings[0].named, "settings-file", message, "keep it out of the directory of the policies"
        )
        return
    for name, node in root.value.items():
        if name == "version":
            if node.value != 1 or node.value is True:
                hint = "write it without quotes" if node.value == "1" else ""
                draft.findings.error(node.where, "unknown-version", "the version of the language must be 1", hint)
        elif name not in ENTRY_TYPES:
            known = sorted(("version", *ENTRY_TYPES))
            hint = did_you_mean(name, known) or f"known: {', '.join(known)}"
            draft.findings.error(node.named, "unknown-key", f"unknown section {quoted(name)}", hint)
        elif node.value is not None:  # a section whose entries are all commented out
            _add_section(name, node, draft)


def _add_section(section: str, node: Node, draft: Draft) -> None:
    if section == "routes":
        if not isinstance(node.value, list):
            draft.findings.error(node.where, "wrong-type", "routes: expected a list of routes", "begin each with -")
            draft.broken.add(section)
            return
        for route in node.value:
            named = route.child("name")
            _add(section, str(named.value) if named else "", route, draft)
        return
    if not isinstance(node.value, dict):
        draft.findings.error(node.where, "wrong-type", f"{section}: expected a mapping of names", "name: {…}")
        draft.broken.add(section)
        return
    for name, entry in node.value.items():
        _check_name(section, name, entry, draft)
        _add(section, name, entry, draft)


def _check_name(section: str, name: str, node: Node, draft: Draft) -> None:
    if not is_name(name):
        message = f"{quoted(name)} is not a name for a {SINGULAR[section]}"
        draft.findings.error(node.named, "bad-name", message, "letters, digits and . _ - only, at most 64")
    elif section == "limits" and name.endswith(VARIANT):
        message = f"names that end in {VARIANT} belong to the variants of limits"
        draft.findings.error(node.named, "bad-name", message)
    elif section == "limits" and name.startswith(OF_INTAKE):  # with the same name they would count together
        message = f"names that begin with {OF_INTAKE} belong to the limits of webhooks' sources"
        draft.findings.error(node.named, "bad-name", message)


def _add(section: str, name: str, node: Node, draft: Draft) -> None:
    entry = Entry(name, node, validate(node, ENTRY_TYPES[section], draft.findings))
    earlier = draft.sections[section].setdefault(name, entry)
    if earlier is not entry:
        draft.again.append((section, entry))
    if earlier is not entry and name:
        message = f"{SINGULAR[section]} {quoted(name)} is already defined at {earlier.source}"
        draft.findings.error(_name_place(node), "duplicate-name", message)


def _name_place(node: Node) -> Where:
    """Where the entry's name stands."""
    named = node.child("name") if node.key is None else None
    return named.where if named else node.named
