"""Settings from environment variables and from options, laid over the tree of the file."""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import get_args, get_origin

from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

from gateway.policy.findings import Findings, Where
from gateway.policy.models.settings import Listener, SettingsFile
from gateway.policy.nodes import Node, resolve
from gateway.policy.secret import is_reference
from gateway.policy.variables import place_of
from gateway.policy.words import did_you_mean

PREFIX = "GATEWAY_"
_OPTIONS = {"store.url": "--store", "logging.level": "--log-level", "logging.pretty": "--dev"}
_SECRETS = (("store", "url"), ("admin_token",), ("admin_read_token",))
"""`GATEWAY_..._FILE` names a file that holds them."""
_LISTENERS = ("listen", "admin")


def overlay_environment(root: Node, env: Mapping[str, str], findings: Findings) -> None:
    """Lay every `GATEWAY_SECTION__KEY` over the file.

    Variables that are no setting are left alone, because others use the prefix too (Kubernetes sets `GATEWAY_PORT` and
    `GATEWAY_SERVICE_HOST` for a service named gateway); unless they look like a setting that was misspelled and no
    `env:NAME` of the file names them.
    """
    known = {_variable(path): path for path in setting_paths(SettingsFile)}
    secrets = set(_referred_to(root))
    for name in sorted(env):
        if not name.startswith(PREFIX):
            continue
        where = Where(place_of(name, env))
        if name in known:
            _put(root, known[name], _leaf(env[name], known[name], where))
        elif name.removesuffix("_FILE") in (_variable(path) for path in _SECRETS):
            _put(root, known[name.removesuffix("_FILE")], Node(where, f"file:{env[name]}"))
        elif name not in secrets and _misspelled(name, known):
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else ""
            findings.error(where, "unknown-key", "there is no such setting", hint)


def overlay_options(root: Node, options: Mapping[str, object], findings: Findings) -> None:
    """Lay options over everything else. Keys are dotted; texts are read as in the environment."""
    paths = {".".join(path): path for path in setting_paths(SettingsFile)}
    for name, value in options.items():
        if value is None:
            continue
        where = Where(_OPTIONS.get(name, "--" + name.rpartition(".")[2].replace("_", "-")))
        if name not in paths:
            findings.error(where, "unknown-key", f"there is no setting '{name}'", did_you_mean(name, paths))
            continue
        path = paths[name]
        _put(root, path, Node(where, value) if isinstance(value, int) else _leaf(str(value), path, where))


def _referred_to(node: Node) -> Iterator[str]:
    """The names of the variables that hold secrets of the file."""
    value = node.value
    if isinstance(value, str) and value.startswith("env:") and is_reference(value):
        yield value.removeprefix("env:")
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        yield from _referred_to(child)


def _variable(path: tuple[str, ...]) -> str:
    return PREFIX + "__".join(path).upper()


def _misspelled(name: str, known: Mapping[str, object]) -> bool:
    if "__" in name or any(name == other.replace("__", "_") for other in known):
        return True
    return bool(difflib.get_close_matches(name, known, n=1, cutoff=0.9))


def setting_paths(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every setting, sections and listeners included."""
    for name, field in model.model_fields.items():
        here = (*path, name)
        yield here
        inner = _section(name, field)
        if inner is not None:
            yield from setting_paths(inner, here)


def _leaf(text: str, path: tuple[str, ...], where: Where) -> Node:
    """The text as the setting wants it: a list, a number, a truth value, or as it is where that is checked as text."""
    field = _field(path)
    if any(isinstance(mark, BeforeValidator) for mark in field.metadata):
        return Node(where, text)
    if get_origin(field.annotation) is tuple:
        return Node(where, [Node(where, item.strip()) for item in text.split(",") if item.strip()])
    return Node(where, resolve(text) if field.annotation in (int, bool) else text)


def _field(path: tuple[str, ...]) -> FieldInfo:
    model: type[BaseModel] = SettingsFile
    for name in path[:-1]:
        inner = _section(name, model.model_fields[name])
        assert inner is not None
        model = inner
    return model.model_fields[path[-1]]


def _section(name: str, field: FieldInfo) -> type[BaseModel] | None:
    """The model behind a setting that has settings below it."""
    if name in _LISTENERS:
        return Listener
    if get_origin(field.annotation) in (dict, tuple):
        return None
    options = get_args(field.annotation) or (field.annotation,)
    return next((kind for kind in options if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _put(root: Node, path: tuple[str, ...], leaf: Node) -> None:
    """Set the value at `path`, making the mappings on the way. A listener given as text is one with an address."""
    node = root
    for name in path[:-1]:
        if not isinstance(node.value, dict):
            return  # a section that is no mapping: reported when the whole is checked
        inner = node.value.get(name)
        if inner is None or (name in _LISTENERS and not isinstance(inner.value, dict)):
            entries = {"address": inner} if inner is not None and inner.value != "off" else {}
            inner = node.value[name] = replace(leaf, value=entries)
        node = inner
    if isinstance(node.value, dict):
        node.value[path[-1]] = leaf
