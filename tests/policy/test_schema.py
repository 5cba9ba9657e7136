"""The schema for editors is that of the models, and the shipped copy is up to date."""

import json
import re
from typing import Any

import pytest

from gateway.policy.meanings import MEANINGS
from gateway.policy.models.policies import ENTRY_TYPES, PolicyFile
from gateway.policy.schema import fixtures_schema, policy_schema
from gateway.policy.shipped import shipped


def test_the_shipped_schema_is_up_to_date() -> None:
    """If not: `gateway schema > policies/policy.schema.json`, and `.ci/policy_reference.py` for the page made from it."""
    assert json.loads(shipped("policies/policy.schema.json").read_text()) == policy_schema()


def test_so_is_that_of_fixtures() -> None:
    """If not: `gateway schema fixtures > policies/fixtures.schema.json`."""
    assert json.loads(shipped("policies/fixtures.schema.json").read_text()) == fixtures_schema()


def test_it_knows_every_section_and_refuses_others() -> None:
    schema = policy_schema()
    assert set(schema["properties"]) == {"version", *ENTRY_TYPES}
    assert schema["additionalProperties"] is False
    assert schema["properties"]["limits"]["propertyNames"] == {"pattern": "^[A-Za-z0-9._-]{1,64}$"}


@pytest.mark.parametrize(
    ("model", "key", "kind"),
    [("RollingWindow", "window", "Duration"), ("HeaderKey", "from", "From"), ("Upstream", "url", "URL")],
)
def test_keys_are_named_as_in_the_file(model: str, key: str, kind: str) -> None:
    properties: dict[str, Any] = policy_schema()["$defs"][model]["properties"]
    assert properties[key]["title"] == kind


def test_one_value_may_stand_for_a_list_of_one() -> None:
    method = policy_schema()["$defs"]["RouteMatch"]["properties"]["method"]
    assert method["type"] == ["string", "array"]


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("default", "policy"),
        ("examples/vendor-a-integration-platform", "policy"),
        ("examples/vendor-c-psa", "policy"),
        ("examples/fixtures/vendor-a/fixtures", "fixtures"),
    ],
)
def test_editors_find_it_from_every_shipped_file(name: str, schema: str) -> None:
    path = shipped(f"policies/{name}.yaml")
    first = path.read_text().splitlines()[0]
    reference = first.removeprefix("# yaml-language-server: $schema=")
    assert (path.parent / reference).resolve() == shipped(f"policies/{schema}.schema.json").resolve()


def test_defaults_are_what_may_stand_in_a_file() -> None:
    definitions = policy_schema()["$defs"]
    assert definitions["Timeouts"]["properties"]["connect"]["default"] == "2s"
    assert definitions["Timeouts"]["properties"]["total"]["default"] == "none"
    assert definitions["Retry"]["properties"]["max_body"]["default"] == "1MiB"
    said = [
        one
        for model in definitions.values()
        for one in model["properties"].values()
        if "pattern" in one and one.get("default")
    ]
    assert len(said) > 10
    assert [one for one in said if not re.search(one["pattern"], one["default"])] == []
    assert definitions["RollingWindow"]["properties"]["mode"]["default"] == "enforce"


def test_every_key_says_what_it_means() -> None:
    """If not: say it in the field, or in `gateway/policy/meanings.py`."""
    definitions = policy_schema()["$defs"]
    keys = {(model, key) for model, one in definitions.items() for key in one["properties"]}
    assert sorted(one for one in keys if not definitions[one[0]]["properties"][one[1]].get("description")) == []
    own = {(model, key) for model, one in PolicyFile.model_json_schema(by_alias=True)["$defs"].items() for key, part in one["properties"].items() if part.get("description")}  # fmt: skip
    used = {f"{model}.{key}" if f"{model}.{key}" in MEANINGS else key for model, key in keys - own}
    assert sorted(MEANINGS.keys() - used) == []
