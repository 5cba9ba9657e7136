"""What policies say of callers by their key parts: values that no caller has would be there for nothing."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from gateway.core.keys import KeyFrom, KeyPart, as_read, hides
from gateway.policy.findings import quoted
from gateway.policy.gather import Draft
from gateway.policy.nodes import Node

_ADDRESSES = "one address like 192.0.2.1; of IPv6 the network that counts as one caller, 2001:db8::/64"


class _Wanted(NamedTuple):
    """A value of a key part, and where it stands."""

    part: str
    value: str
    node: Node


def check_matches(draft: Draft, keys: Mapping[str, KeyPart]) -> None:
    """Look at the values in overrides, credentials and sandboxes."""
    for wanted in (*_of_overrides(draft), *_of_credentials(draft)):
        if not wanted.value:
            message = "an empty value never matches: it counts as missing"
            draft.findings.error(wanted.node.where, "empty", message)
        elif wanted.part in keys:
            _check(wanted, keys[wanted.part], draft)
    for wanted in _of_sandboxes(draft):
        if wanted.value and wanted.part in keys:  # no value: who is not said to be anybody
            _check(wanted, keys[wanted.part], draft)


def _check(wanted: _Wanted, part: KeyPart, draft: Draft) -> None:
    """What only looks wrong may be a secret, and is not repeated."""
    read = as_read(part, wanted.value)
    if read == wanted.value:
        return
    where = wanted.node.where
    if hides(part):
        draft.findings.error(
            where, "inline-secret", f"no place for a secret: {part.name} is compared by its hash", f"write {read}"
        )
        return
    hint = f"write {read}" if read else _ADDRESSES if part.source is KeyFrom.CLIENT_IP else ""
    message = f"this never matches: no caller's {part.name} is read as {quoted(wanted.value)}"
    draft.findings.warn(where, "never-applies", message, hint)


def _of_overrides(draft: Draft) -> Iterator[_Wanted]:
    for entry in draft.valid("limits"):
        for index, override in enumerate(entry.model.overrides):
            yield from _of(override.match, entry.node.at("overrides", index, "match"))


def _of_credentials(draft: Draft) -> Iterator[_Wanted]:
    for entry in draft.valid("credentials"):
        yield from _of(entry.model.match, entry.node.at("match"))


def _of_sandboxes(draft: Draft) -> Iterator[_Wanted]:
    for entry in draft.valid("routes"):
        sandbox = entry.model.modules.sandbox
        if sandbox is not None and sandbox.when.key is not None:
            node = entry.node.at("modules", "sandbox", "when", "values")
            for index, value in enumerate(sandbox.when.values):
                yield _Wanted(sandbox.when.key, value, node.at(index))


def _of(match: Mapping[str, str], node: Node) -> Iterator[_Wanted]:
    for name, value in match.items():
        yield _Wanted(name, value, node.at(name))
