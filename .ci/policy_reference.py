#!/usr/bin/env python3
"""Writes docs/policy-reference.md from policies/policy.schema.json. A test knows when it is stale."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SCHEMA = ROOT / "policies" / "policy.schema.json"
PAGE = ROOT / "docs" / "policy-reference.md"
HEAD = """# Policies: every key

Made from the [schema](../policies/policy.schema.json) by `.ci/policy_reference.py`; do not edit. What the keys are
for, with examples: [policies](policies.md), [limits](limits.md), [retries](retries.md), [breakers](breakers.md),
[credentials](credentials.md), [cache](cache.md). Settings: [`config/gateway.yaml`](../config/gateway.yaml)
has every key with its default.

A file is `version: 1` and any of these sections. Keys in bold must be there.
"""
WORDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true`, `false`"}
Schema = dict[str, Any]


def page(schema: Schema) -> str:
    """The whole page."""
    told: set[str] = set()
    parts = [HEAD]
    for name, section in schema["properties"].items():
        models = [model for model in reached(section, schema["$defs"]) if model not in told]
        if models:
            parts.append(f"## {name}\n")
            if section.get("description"):
                parts.append(sentence(section["description"]) + "\n")
        for model in models:
            told.add(model)
            parts.append("\n".join(table(model, schema["$defs"][model])) + "\n")
    return "\n".join(parts)


def reached(part: Any, definitions: Schema, seen: tuple[str, ...] = ()) -> list[str]:
    """Names of the models that a part of the schema refers to, and those refer to, each once."""
    found: list[str] = []
    for name in references(part):
        if name not in seen and name not in found:
            found.append(name)
            found += [one for one in reached(definitions[name], definitions, (*seen, *found)) if one not in found]
    return found


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if "$ref" in part:
            yield part["$ref"].rpartition("/")[2]
        for key, inner in part.items():
            if key != "discriminator":
                yield from references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from references(inner)


def table(name: str, model: Schema) -> Iterator[str]:
    yield f"### {name}\n"
    if model.get("description"):
        yield sentence(model["description"]) + "\n"
    yield "| key | value | default | |"
    yield "| --- | --- | --- | --- |"
    required = model.get("required", ())
    for key, one in model["properties"].items():
        bold = f"**`{key}`**" if key in required else f"`{key}`"
        yield f"| {bold} | {value(one)} | {default(one)} | {sentence(one.get('description', ''))} |"


def value(one: Schema) -> str:
    """What may stand there, in words."""
    if "$ref" in one:
        name = one["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "const" in one:
        return f"`{written(one['const'])}`"
    if "enum" in one:
        return ", ".join(f"`{written(word)}`" for word in one["enum"])
    for choice in ("anyOf", "oneOf"):
        if choice in one:
            return " or ".join(dict.fromkeys(value(inner) for inner in one[choice] if inner.get("type") != "null"))
    return plain(one)


def plain(one: Schema) -> str:
    kind = one.get("type", "anything")
    if kind == "array" or (isinstance(kind, list) and "array" in kind):
        single = "one or " if isinstance(kind, list) else ""
        return f"{single}a list of {value(one.get('items', {}))}"
    if kind == "object":
        inner = one.get("additionalProperties")
        return f"names and {value(inner)}" if isinstance(inner, dict) else "names and values"
    title = one.get("title", "")
    if kind == "string" and title.startswith(("Duration", "Size", "URL")):
        return f"{title[0].lower()}{title[1:]}" if title != "URL" else "URL"
    return WORDS.get(kind, "any value") + bounds(one)


def bounds(one: Schema) -> str:
    least, most = one.get("minimum"), one.get("maximum")
    if least is not None and most is not None:
        return f", {least} to {most}"
    return f", from {least}" if least is not None else ""


def default(one: Schema) -> str:
    """The default as it would be written; nothing for an empty one."""
    given = one.get("default")
    return "" if given in (None, "", [], {}) else f"`{written(given)}`"


def written(given: object) -> str:
    return given if isinstance(given, str) else json.dumps(given)


def sentence(text: str) -> str:
    """On one line, safe inside a table."""
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(json.loads(SCHEMA.read_text())))
