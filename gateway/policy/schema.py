"""Policy and settings files as JSON Schema 2020-12, for editors. Made from the models that check the files."""

from typing import Any

from gateway.policy.models import PolicyFile
from gateway.policy.scalars import NAME

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def policy_schema() -> dict[str, Any]:
    """The schema of one policy file. References between entries are beyond it; `gateway check` follows them."""
    schema = PolicyFile.model_json_schema(by_alias=True)
    for section in schema["properties"].values():
        if section.get("type") == "object":
            section["propertyNames"] = {"pattern": f"^{NAME}$"}
    _drop_foreign_defaults(schema)
    return {"$schema": _DIALECT, **schema}


def settings_schema() -> dict[str, Any]:
    """The schema of `config/gateway.yaml`."""
    from gateway.policy.settings_model import SettingsFile

    schema = SettingsFile.model_json_schema(by_alias=True)
    schema["title"] = "Gateway settings"
    address = schema["$defs"]["Listener"]["properties"]["address"]
    listener = [address, {"$ref": "#/$defs/Listener"}]
    schema["properties"]["listen"]["anyOf"] = listener
    schema["properties"]["admin"]["anyOf"] = [{"const": "off"}, *listener]
    for name in ("listen", "admin"):
        schema["properties"][name].pop("$ref", None)
    _drop_foreign_defaults(schema)
    _drop_no_defaults(schema)
    return {"$schema": _DIALECT, **schema}


def _drop_no_defaults(part: Any) -> None:
    """`none` is written as that word, not as null."""
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        _drop_no_defaults(inner)
    if isinstance(part, dict) and part.get("default", "") is None:
        del part["default"]


def _drop_foreign_defaults(part: Any) -> None:
    """A default in microseconds or bytes is nothing that an editor should write into a file."""
    if isinstance(part, dict):
        default = part.get("default")
        if isinstance(default, dict) or (part.get("type") == "string" and not isinstance(default, str)):
            part.pop("default", None)
        for inner in part.values():
            _drop_foreign_defaults(inner)
    elif isinstance(part, list):
        for inner in part:
            _drop_foreign_defaults(inner)
