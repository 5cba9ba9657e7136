"""What editors are told is what the loader says: no false alarm, and whatever a schema can know is refused by both."""

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.policy import check
from gateway.policy.findings import PolicyErrors
from gateway.policy.schema import policy_schema, settings_schema
from gateway.policy.settings_file import load_settings
from gateway.policy.shipped import shipped
from tests.policy.json_schema import fits

POLICIES, SETTINGS = policy_schema(), settings_schema()
ROOT = Path(__file__).parents[2]
SHIPPED = sorted([ROOT / "policies/default.yaml", *(ROOT / "policies/examples").glob("*.yaml")])
EXAMPLE = ROOT / "policies/examples/vendor-a-integration-platform.yaml"
KNOWABLE = {"unknown-key", "wrong-type", "missing-key", "unknown-value"}
"""Codes of findings about the shape of one value. What values say about each other is beyond a schema."""


class Yaml12(yaml.SafeLoader):
    """As editors read YAML 1.2: `off` and `no` are words."""


Yaml12.yaml_implicit_resolvers = {
    first: [one for one in resolvers if one[0] != "tag:yaml.org,2002:bool" or first in "tTfF"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read(text: str) -> Any:
    return yaml.load(text, Yaml12)


def loaded(document: Any, tmp_path: Path) -> set[str]:
    """The codes of what the loader finds."""
    path = tmp_path / "p.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return {error.code for error in check([path], env={}).errors}


def places(part: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    for name, inner in part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ():
        yield from places(inner, (*path, name))


def mutants(document: Any) -> Iterator[tuple[str, Any]]:
    """The document with one thing wrong, or odd."""
    for path in places(document):
        if not path:
            continue
        for name, value in (
            ("nothing", None),
            ("a list", [[1]]),
            ("a mapping", {"zz": 1}),
            ("a word", "zz"),
            ("-1", -1),
        ):
            mutant = copy.deepcopy(document)
            at = mutant
            for step in path[:-1]:
                at = at[step]
            at[path[-1]] = value
            yield f"{'.'.join(map(str, path))} is {name}", mutant
        mutant = copy.deepcopy(document)
        at = mutant
        for step in path:
            at = at[step]
        if isinstance(at, dict):
            at["zz"] = 1
            yield f"{'.'.join(map(str, path))} has one key more", mutant


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_what_is_shipped_is_valid_for_editors(path: Path) -> None:
    assert fits(POLICIES, read(path.read_text()))


def test_what_the_docs_show_is_valid_for_editors() -> None:
    texts = [
        text
        for path in (ROOT / "docs").glob("*.md")
        for text in re.findall(r"```yaml\n(.*?)```", path.read_text(), re.DOTALL)
    ]
    documents = [document for text in texts if isinstance(document := read(text), dict)]
    policies = [document for document in documents if set(document) <= set(POLICIES["properties"])]
    assert len(policies) > 10
    assert [document for document in policies if not fits(POLICIES, document)] == []


def test_each_mutant_is_judged_alike(tmp_path: Path) -> None:
    """A sample of them: every one takes half a minute."""
    document = read(EXAMPLE.read_text())
    wrong = []
    for number, (what, mutant) in enumerate(mutants(document)):
        if number % 4:
            continue
        codes, fitting = loaded(mutant, tmp_path), fits(POLICIES, mutant)
        if not fitting and not codes:
            wrong.append(f"{what}: a false alarm")
        if fitting and codes & KNOWABLE:
            wrong.append(f"{what}: not known to the schema: {codes}")
    assert wrong == []


# --- settings


def test_the_shipped_settings_are_valid_for_editors_and_point_to_their_schema() -> None:
    path = shipped("config/gateway.yaml")
    text = path.read_text()
    assert fits(SETTINGS, read(text))
    reference = text.splitlines()[0].removeprefix("# yaml-language-server: $schema=")
    assert (path.parent / reference).resolve() == shipped("config/gateway.schema.json").resolve()


def test_the_shipped_schema_of_settings_is_up_to_date() -> None:
    """If not: `gateway schema settings > config/gateway.schema.json`."""
    import json

    assert json.loads(shipped("config/gateway.schema.json").read_text()) == SETTINGS


@pytest.mark.parametrize(
    "text",
    [
        "listen: {address: '0.0.0.0:8443', tls: {certificate: a, key: b}}",
        "admin: off",
        "workers: auto",
        "bounds: {body_bytes: 1MiB, sockets_per_ip: 4}",
        "logging: {pretty: auto, redact: [query]}",
        "store: {url: 'redis://localhost'}",
        "logging: {access: ./none, connection_errors: off}",
        "drain: {delay: 0s}",
        "drain: {delay: 0s, grace: 30 s}",
        "bounds: {header_bytes: 32 KiB}",
    ],
)
def test_settings_that_load_are_valid_for_editors(text: str, tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(f"version: 1\n{text}\n")
    load_settings(path, {}, {})
    assert fits(SETTINGS, read(path.read_text()))


@pytest.mark.parametrize(
    "text",
    ["zz: 1", "listen: 8080", "workers: 0", "workers: many", "bounds: {body_bytes: 5}", "bounds: {zz: 1}", "logging: {format: xml}", "logging: {access: none}", "logging: {access: 5}",
     "logging: {pretty: perhaps}", "drain: {delay: 5}", "store: []", "admin_token: secret", "listen: {tls: {certificate: a, key: b}}",
     "version: 2", "bounds: {sockets_per_ip: 0}"],
)  # fmt: skip
def test_settings_with_a_wrong_shape_are_refused_by_both(text: str, tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(f"{text}\n")
    with pytest.raises(PolicyErrors):
        load_settings(path, {}, {})
    assert not fits(SETTINGS, read(text))
