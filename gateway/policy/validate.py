"""From a tree to a model, and from what pydantic says to findings a person can act on."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from gateway.policy.findings import Findings, Where, quoted
from gateway.policy.models.scalars import described
from gateway.policy.nodes import Node, resolve
from gateway.policy.words import MOST_LISTED, closest, did_you_mean

_T = TypeVar("_T")
_MAPPINGS = ("dict_type", "model_type", "model_attributes_type")
_ONE_OF_A_LIST = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./:-]{0,59}").fullmatch
_SECTIONS = {"breaker": "breakers", "limits": "limits", "retry": "retries", "upstream": "upstreams"}
"""Keys that name an entry of a section, where others have the entry itself."""
_MUST_SAY = {"key": "such as [tenant]; [] counts everybody together"}
_MAY_BE: dict[str | int, tuple[str, str]] = {
    "key_prefix": ("a prefix of keys", "letters, digits and : . _ - only, at most 32"),
    "prefix": ("what can stand before a signature", "visible ASCII only, no blanks"),
    "problem_base": ("the beginning of a URL", "about:blank, or like https://errors.example.com/"),
}
"""Texts with a pattern that are no names: what they are, and what may be written."""
_LETTER_FIRST = "^[A-Za-z]["
_EXPECTED = {
    "int_type": "a whole number",
    "string_type": "text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "float_type": "a number",
    "literal_error": "",
}


def validate(node: Node, kind: Any, findings: Findings, content: object = None) -> Any | None:
    """The value of `node` as `kind` (a model, or any annotation), None when there is anything wrong with it.

    content  what to check instead of the node's own value; the node still says where things are
    """
    try:
        return _adapter(kind).validate_python(node.plain() if content is None else content)
    except ValidationError as invalid:
        errors = invalid.errors(include_url=False)
        meant = {_meant(error["loc"], kind) for error in errors if error["type"] == "extra_forbidden"}
        for error in errors:
            if error["type"] != "missing" or error["loc"] not in meant:  # else it is there, misspelt
                _explain(error, node, kind, findings)
    return None


def _meant(unknown: tuple[str | int, ...], kind: Any) -> tuple[str | int, ...]:
    """Where the known key stands that an unknown one is taken for; () when there is none."""
    close = closest(str(unknown[-1]), known_keys(kind, unknown[:-1]))
    return (*unknown[:-1], close) if close else ()


@cache
def _adapter(kind: Any) -> "TypeAdapter[Any]":
    return TypeAdapter(kind)


def _explain(error: ErrorDetails, root: Node, kind: Any, findings: Findings) -> None:
    """One error of pydantic as one finding."""
    loc, problem, context = error["loc"], error["type"], error.get("ctx", {})
    node = root.at(*loc)
    if problem == "extra_forbidden":
        name = str(loc[-1])
        hint = did_you_mean(name, known_keys(kind, loc[:-1])) or _of_this_kind(kind, loc[:-1])
        findings.error(node.named, "unknown-key", f"unknown key {quoted(name)}", hint)
    elif problem == "missing":
        hint = _one_of(_at(kind, loc)) or _of_a_list(_at(kind, loc), str(loc[-1]))
        findings.error(node.named, "missing-key", f"key {quoted(str(loc[-1]))} is missing", hint)
    elif problem.startswith("union_tag"):
        meant = _explain_tag(node, _at(kind, loc), context, findings)
        own = root.plain()
        if meant and not loc and isinstance(own, dict):
            validate(root, kind, findings, {**own, **meant})  # the rest, as what was probably meant
    elif loc and loc[-1] == "[key]":
        _explain_value(node.named, problem, error, findings)
    elif problem in _EXPECTED:
        hint = _place_hint(problem, loc, kind) or _type_hint(problem, error["input"])
        _explain_type(node.where, problem, error["input"], context, hint, findings)
    else:
        _explain_value(node.where, problem, error, findings)


def _one_of(kinds: Sequence[Any]) -> str:
    """A hint: the words that such a value may be, if it is one of some words."""
    literals = [option for kind in kinds for option in _options(kind) if get_origin(option) is Literal]
    words = dict.fromkeys(str(word) for literal in literals for word in get_args(literal))
    return f"one of {', '.join(words)}" if 1 < len(words) <= MOST_LISTED else ""


def _of_a_list(kinds: Sequence[Any], name: str) -> str:
    """A hint: how the list of that name is written; "" of what is no list, such as the key of a certificate."""
    is_list = any(get_origin(option) is tuple for kind in kinds for option in _options(kind))
    return _MUST_SAY.get(name, "") if is_list else ""


def _explain_tag(node: Node, union: Sequence[Any], context: Mapping[str, Any], findings: Findings) -> dict[str, str]:
    """The key that says which member of the union this is (`algorithm`, `from`, `type`) is missing or unknown.

    Returns it with the word that was probably meant; {} when there is none.
    """
    name = next(word for word in ("algorithm", "from", "type") if f"'{word}'" in context["discriminator"])
    chosen = node.child(name)
    if chosen is None:
        hint = _one_of([kind for option in union for kind in _step(option, name)])
        findings.error(node.named, "missing-key", f"key {quoted(name)} is missing", hint)
        _tell_typo(node, name, findings)
        return {}
    words = [word.strip(" '") for word in context.get("expected_tags", "").split(",")]
    said = context.get("tag", chosen.plain())
    _unknown_word(chosen.where, said, words, findings)
    close = closest(str(said), words)
    return {name: close} if close else {}


def _tell_typo(node: Node, missing: str, findings: Findings) -> None:
    """Keys that look like the missing one: nothing else is looked at before it is there."""
    for name, child in node.value.items() if isinstance(node.value, dict) else ():
        hint = did_you_mean(name, [missing])
        if hint.startswith("did"):
            findings.error(child.named, "unknown-key", f"unknown key {quoted(name)}", hint)


def _explain_type(
    where: Where, problem: str, value: object, context: Mapping[str, Any], hint: str, findings: Findings
) -> None:
    if problem == "literal_error":
        words = [word.strip(" '") for word in context["expected"].replace(" or ", ", ").split(",")]
        _unknown_word(where, value, words, findings)
        return
    findings.error(where, "wrong-type", f"expected {_EXPECTED[problem]}, got {described(value)}", hint)


def _place_hint(problem: str, loc: Sequence[str | int], kind: Any) -> str:
    """What belongs at this place: the keys of its mapping, or the name of an entry, whatever stands there."""
    if problem in _MAPPINGS:
        keys = known_keys(kind, loc)
        return f"its keys: {', '.join(keys)}" if 0 < len(keys) <= MOST_LISTED else ""
    key = next((step for step in reversed(loc) if isinstance(step, str)), "")
    return f"the name of one in the section {_SECTIONS[key]}" if problem == "string_type" and key in _SECTIONS else ""


def _type_hint(problem: str, value: object) -> str:
    if problem == "string_type" and isinstance(value, bool | int | float):
        return "put it in quotes"
    if problem == "tuple_type" and isinstance(value, str) and _ONE_OF_A_LIST(value):
        return f"write [{value}]"
    if problem != "int_type" or not isinstance(value, str):
        return ""
    if isinstance(resolve(value), int):
        return "write it without quotes"
    if value.isdigit() and len(value) > 18:
        return "at most 18 digits"
    return "plain decimal digits only, like 500" if any(letter.isdigit() for letter in value) else ""


def _unknown_word(where: Where, value: object, words: Sequence[str], findings: Findings) -> None:
    """A value that is none of the words that may stand here."""
    message = (
        f"expected {' or '.join(words) if len(words) < 3 else 'one of ' + ', '.join(words)}, got {described(value)}"
    )
    hint = did_you_mean(value, words) if isinstance(value, str) else ""
    findings.error(where, "unknown-value", message, hint if hint.startswith("did") else "")


def _explain_value(where: Where, problem: str, error: ErrorDetails, findings: Findings) -> None:
    context = error.get("ctx", {})
    bounds = {"greater_than_equal": ("at least", "ge"), "less_than_equal": ("at most", "le")}
    if problem in bounds:
        words, name = bounds[problem]
        message = f"must be {words} {context[name]}, got {error['input']}"
        findings.error(where, "out-of-range", message)
    elif problem == "too_short" and error["input"]:
        return  # it is empty only without its wrong entries, and each of these is reported
    elif problem in ("too_short", "string_too_short"):
        findings.error(where, "empty", "must not be empty")
    elif problem == "too_long":
        findings.error(where, "out-of-range", f"more than {context['max_length']} entries")
    elif problem == "string_too_long":
        findings.error(where, "out-of-range", f"longer than {context['max_length']} characters")
    elif problem == "string_unicode":
        findings.error(where, "not-utf8", "not UTF-8 text")
    elif problem == "string_pattern_mismatch":
        what, hint = _MAY_BE.get(error["loc"][-1], ("a name", "letters, digits and . _ - only, at most 64"))
        if context["pattern"].startswith(_LETTER_FIRST):
            hint = f"a letter first, then {hint}"
        findings.error(where, "bad-name", f"{quoted(error['input'])} is not {what}", hint)
    else:
        findings.error(where, problem, error["msg"], context.get("hint", ""))


def known_keys(kind: Any, loc: Sequence[str | int]) -> list[str]:
    """The keys that may stand at `loc` inside `kind`."""
    return sorted({name for model in _models(_at(kind, loc)) for name in _field_names(model)})


def _at(kind: Any, loc: Sequence[str | int]) -> list[Any]:
    """What may stand at `loc` inside `kind`."""
    here = [kind]
    for step in loc:
        here = [inner for outer in here for inner in _step(outer, step)]
    return here


def _of_this_kind(kind: Any, loc: Sequence[str | int]) -> str:
    """A hint: what the member of a union at `loc` has that not every member has, or ""."""
    siblings = [*_models(_at(kind, loc[:-1]))] if loc else []
    chosen = next((model for model in siblings if _tagged(model, loc[-1])), None)
    if chosen is None:
        return ""
    common = set.intersection(*(set(_field_names(model)) for model in siblings))
    own = [name for name in _field_names(chosen) if name not in common]
    return f"{loc[-1]} has {', '.join(own)}" if 0 < len(own) <= MOST_LISTED else ""


def _field_names(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _step(kind: Any, step: str | int) -> Iterator[Any]:
    """What `step` leads to: a field of a model, an item of a list or mapping, or the union member with that tag."""
    for option in _options(kind):
        if isinstance(option, type) and issubclass(option, BaseModel):
            if _tagged(option, step):
                yield option
            for name, field in option.model_fields.items():
                if (field.alias or name) == step:
                    yield field.annotation
        elif get_origin(option) in (tuple, dict):
            yield next(inner for inner in reversed(get_args(option)) if inner is not ...)


def _tagged(model: type[BaseModel], tag: str | int) -> bool:
    literals = (field.annotation for field in model.model_fields.values() if get_origin(field.annotation) is Literal)
    return any(get_args(literal) == (tag,) for literal in literals)


def _options(kind: Any) -> Iterator[Any]:
    """The members of a union, or the kind itself; annotations taken off."""
    if get_origin(kind) is Annotated:
        yield from _options(get_args(kind)[0])
    elif get_origin(kind) in (Union, UnionType):
        for option in get_args(kind):
            yield from _options(option)
    elif kind is not NoneType:
        yield kind


def _models(kinds: Sequence[Any]) -> Iterator[type[BaseModel]]:
    for kind in kinds:
        for option in _options(kind):
            if isinstance(option, type) and issubclass(option, BaseModel):
                yield option
