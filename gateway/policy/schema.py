"""Policy, settings and fixture files as JSON Schema 2020-12, for editors. Made from the models that check the files."""

from typing import Any

from gateway.policy.meanings import MEANINGS
from gateway.policy.models.policies import PolicyFile
from gateway.policy.models.scalars import NAME, UNITS_BYTES, UNITS_US

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def policy_schema() -> dict[str, Any]:
    """The schema of one policy file. References between entries are beyond it; `gateway check` follows them."""
    schema = PolicyFile.model_json_schema(by_alias=True)
    for section in schema["properties"].values():
        if section.get("type") == "object":
            section["propertyNames"] = {"pattern": f"^{NAME}$"}
    _say_defaults(schema)
    _say_meanings(schema["$defs"])
    return {"$schema": _DIALECT, **schema}


def fixtures_schema() -> dict[str, Any]:
    """The schema of a sandbox's fixture file."""
    from gateway.policy.models.fixtures import FixtureFile

    schema = FixtureFile.model_json_schema(by_alias=True)
    schema["title"] = "Gateway sandbox fixtures"
    _say_defaults(schema)
    _drop_no_defaults(schema)
    return {"$schema": _DIALECT, **schema}


def settings_schema() -> dict[str, Any]:
    """The schema of `config/gateway.yaml`."""
    from gateway.policy.models.settings import SettingsFile

    schema = SettingsFile.model_json_schema(by_alias=True)
    schema["title"] = "Gateway settings"
    address = schema["$defs"]["Listener"]["properties"]["address"]
    listener = [address, {"$ref": "#/$defs/Listener"}]
    schema["properties"]["listen"]["anyOf"] = listener
    schema["properties"]["admin"]["anyOf"] = [{"const": "off"}, *listener]
    for name in ("listen", "admin"):
        schema["properties"][name].pop("$ref", None)
    _say_defaults(schema)
    _drop_no_defaults(schema)
    return {"$schema": _DIALECT, **schema}


def _say_meanings(definitions: dict[str, Any]) -> None:
    """A description for every key that brings none of its own."""
    for model, definition in definitions.items():
        for key, part in definition["properties"].items():
            if meaning := MEANINGS.get(f"{model}.{key}") or MEANINGS.get(key):
                part.setdefault("description", meaning)


def _drop_no_defaults(part: Any) -> None:
    """`none` is written as that word, not as null."""
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        _drop_no_defaults(inner)
    if isinstance(part, dict) and part.get("default", "") is None:
        del part["default"]


def _say_defaults(part: Any) -> None:
    """Defaults as an editor should write them: `30s` for microseconds, `1MiB` for bytes; none for whole objects."""
    if isinstance(part, dict):
        default = part.get("default")
        if isinstance(default, dict):
            del part["default"]
        elif part.get("type") == "string" and isinstance(default, int):
            part["default"] = _amount(default, part.get("title", ""))
        for inner in part.values():
            _say_defaults(inner)
    elif isinstance(part, list):
        for inner in part:
            _say_defaults(inner)


def _amount(value: int, title: str) -> str:
    """A number of the models in the units of the language; `title` says which."""
    if not value:
        return "none" if "none" in title else "0s"
    units = UNITS_BYTES if title.startswith("Size") else UNITS_US
    unit = max((unit for unit, size in units.items() if value % size == 0), key=units.__getitem__)
    return f"{value // units[unit]}{unit}"
