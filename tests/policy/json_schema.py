"""As much of JSON Schema 2020-12 as our schemas use. A keyword that it does not know is a failure, not ignored."""

import re
from collections.abc import Mapping
from typing import Any

TYPES: Mapping[str, Any] = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
NOTES = {"title", "description", "default", "examples", "$schema", "$defs", "discriminator"}


def fits(schema: Any, value: Any, root: Mapping[str, Any] | None = None) -> bool:
    """Whether a value is valid under a schema."""
    root = schema if root is None else root
    if isinstance(schema, bool):
        return schema
    return all(_holds(keyword, said, schema, value, root) for keyword, said in schema.items() if keyword not in NOTES)


def _holds(keyword: str, said: Any, schema: Mapping[str, Any], value: Any, root: Mapping[str, Any]) -> bool:
    match keyword:
        case "$ref":
            return fits(root["$defs"][said.removeprefix("#/$defs/")], value, root)
        case "type":
            return any(_is(value, one) for one in ([said] if isinstance(said, str) else said))
        case "enum":
            return any(_same(value, one) for one in said)
        case "const":
            return _same(value, said)
        case "anyOf":
            return any(fits(one, value, root) for one in said)
        case "oneOf":
            return sum(fits(one, value, root) for one in said) == 1
    return _bounds(keyword, said, value) and _parts(keyword, said, schema, value, root)


def _bounds(keyword: str, said: Any, value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match keyword:
        case "pattern":
            return not isinstance(value, str) or re.search(said, value) is not None
        case "minLength" | "maxLength":
            return not isinstance(value, str) or (len(value) - said) * (1 if keyword == "minLength" else -1) >= 0
        case "minItems" | "maxItems":
            return not isinstance(value, list) or (len(value) - said) * (1 if keyword == "minItems" else -1) >= 0
        case "minProperties" | "maxProperties":
            return not isinstance(value, dict) or (len(value) - said) * (1 if keyword == "minProperties" else -1) >= 0
        case "minimum" | "maximum":
            return not number or (value - said) * (1 if keyword == "minimum" else -1) >= 0
        case "exclusiveMinimum":
            return not number or value > said
    return True


def _parts(keyword: str, said: Any, schema: Mapping[str, Any], value: Any, root: Mapping[str, Any]) -> bool:
    known = ("pattern", "minLength", "maxLength", "minItems", "maxItems", "minimum", "maximum", "exclusiveMinimum")
    match keyword:
        case "properties":
            return not isinstance(value, dict) or all(
                fits(said[name], value[name], root) for name in said if name in value
            )
        case "required":
            return not isinstance(value, dict) or all(name in value for name in said)
        case "additionalProperties":
            if not isinstance(value, dict):
                return True
            others = [one for name, one in value.items() if not _named(schema, name)]
            return all(fits(said, one, root) for one in others)
        case "patternProperties":
            pairs = [(pattern, name) for pattern in said for name in (value if isinstance(value, dict) else ())]
            return all(fits(said[pattern], value[name], root) for pattern, name in pairs if re.search(pattern, name))
        case "propertyNames":
            return not isinstance(value, dict) or all(fits(said, name, root) for name in value)
        case "items":
            return not isinstance(value, list) or all(fits(said, one, root) for one in value)
    assert keyword in (*known, "minProperties", "maxProperties"), f"unknown keyword {keyword}"
    return True


def _named(schema: Mapping[str, Any], name: str) -> bool:
    patterns = schema.get("patternProperties", {})
    return name in schema.get("properties", {}) or any(re.search(pattern, name) for pattern in patterns)


def _is(value: Any, name: str) -> bool:
    if name == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if name == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, TYPES[name])


def _same(value: Any, other: Any) -> bool:
    return type(value) is type(other) and value == other
