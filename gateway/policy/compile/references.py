"""Which names refer to which section, and whether they lead somewhere.

Followed on the tree rather than on the models, so that the references of an entry are checked even if something else
about it is wrong.
"""

from collections.abc import Iterator, Sequence

from gateway.core.guards import OPERATION
from gateway.policy.findings import Findings, Where, quoted
from gateway.policy.gather import Draft
from gateway.policy.nodes import Node

_EACH, _KEYS = "each item", "each key"
_REFERENCES = (
    ("limits", ("key", _EACH), "keys"),
    ("limits", ("overrides", _EACH, "match", _KEYS), "keys"),
    ("breakers", ("key", _EACH), "keys"),
    ("error_classes", ("pause",), "keys"),
    ("upstreams", ("learn_limits", "scope"), "keys"),
    ("upstreams", ("learn_limits", "scope", _EACH), "keys"),
    ("upstreams", ("pace", "key", _EACH), "keys"),
    ("credentials", ("upstream",), "upstreams"),
    ("credentials", ("match", _KEYS), "keys"),
    ("routes", ("upstream",), "upstreams"),
    ("routes", ("authenticate", _EACH), "authentication"),
    ("routes", ("limits", _EACH), "limits"),
    ("routes", ("breaker",), "breakers"),
    ("routes", ("retry",), "retries"),
    ("routes", ("modules", "cache", "vary_by", _EACH), "keys"),
    ("routes", ("modules", "sandbox", "when", "key"), "keys"),
)


EVERYBODY = "everybody"
"""What a pause says that holds for all callers of its upstream; unless there is a key part of that name."""
_BESIDES = {
    ("breakers", ("key", _EACH)): OPERATION,
    ("error_classes", ("pause",)): EVERYBODY,
    ("upstreams", ("learn_limits", "scope")): EVERYBODY,
}
"""Words that stand for something without being defined, by where they may stand."""


def resolve_references(draft: Draft) -> None:
    """Report every name that is not defined, and mark those that are as used."""
    for section, steps, target in _REFERENCES:
        again = (entry for name, entry in draft.again if name == section)
        for entry in (*draft.sections[section].values(), *again):
            for name, where in _names(entry.node, steps):
                if name != _BESIDES.get((section, steps)) or name in draft.sections[target]:
                    draft.find(target, name, where)


def check_twice(names: Sequence[str], node: Node, message: str, findings: Findings) -> None:
    """Report names that stand in a list before. `node`: of the list; `message`: with {} for the name."""
    for index, name in enumerate(names):
        if name in names[:index]:
            findings.error(node.at(index).where, "duplicate-name", message.format(quoted(name)))


def _names(node: Node, steps: tuple[str, ...]) -> Iterator[tuple[str, Where]]:
    """The texts that `steps` lead to, with their places. What has another shape is reported elsewhere."""
    if not steps:
        if isinstance(node.value, str):
            yield node.value, node.where
        return
    first, *rest = steps
    if first == _KEYS:
        if isinstance(node.value, dict):
            yield from ((name, child.named) for name, child in node.value.items())
        return
    children = node.value if first == _EACH else [node.child(first)]
    for child in children if isinstance(children, list) else []:
        if child is not None:
            yield from _names(child, tuple(rest))
