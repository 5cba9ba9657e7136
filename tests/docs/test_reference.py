"""docs/policy-reference.md is what the schema says."""

import json
import runpy
from typing import Any

from gateway.policy.schema import policy_schema
from tests.docs.pages import ROOT

SCRIPT: dict[str, Any] = runpy.run_path(str(ROOT / ".ci" / "policy_reference.py"))


def test_the_page_is_up_to_date() -> None:
    """If not: `.ci/policy_reference.py`."""
    assert SCRIPT["page"](policy_schema()) == (ROOT / "docs" / "policy-reference.md").read_text()


def test_every_model_and_key_is_told_once() -> None:
    page = (ROOT / "docs" / "policy-reference.md").read_text()
    for name, model in policy_schema()["$defs"].items():
        assert page.count(f"### {name}\n") == 1
        section = page.split(f"### {name}\n")[1].split("\n### ")[0]
        for key in model["properties"]:
            assert f"`{key}`" in section, (name, key)


def test_the_words_for_values() -> None:
    value = SCRIPT["value"]
    assert value({"type": "integer", "minimum": 1, "maximum": 9}) == "whole number, 1 to 9"
    assert value({"anyOf": [{"$ref": "#/$defs/Pace"}, {"type": "null"}]}) == "[Pace](#pace)"
    assert value({"type": ["string", "array"], "items": {"enum": ["a", "b"]}}) == "one or a list of `a`, `b`"
    assert SCRIPT["default"]({"default": json.loads("false")}) == "`false`"
