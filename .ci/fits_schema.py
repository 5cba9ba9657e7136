#!/usr/bin/env python3
"""Every shipped YAML file is valid under the JSON Schema that its first line names, by a validator that is not ours."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

ROOT = Path(__file__).resolve().parents[1]
NAMED = re.compile(r"# yaml-language-server: \$schema=(\S+)")


class Yaml12(yaml.SafeLoader):
    """As editors read it: `on` and `off` are words."""


Yaml12.yaml_implicit_resolvers = {
    first: [one for one in resolvers if one[0] != "tag:yaml.org,2002:bool" or first in "tTfF"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def problems(path: Path) -> list[str]:
    text = path.read_text()
    named = NAMED.match(text)
    if named is None:
        return ["its first line names no schema"]
    schema: dict[str, Any] = json.loads((path.parent / named[1]).read_text())
    Draft202012Validator.check_schema(schema)
    found = Draft202012Validator(schema).iter_errors(Yaml12(text).get_single_data())
    return [f"{error.json_path}: {error.message}" for error in found]


def main() -> int:
    files = [*sorted(ROOT.glob("policies/**/*.yaml")), ROOT / "config" / "gateway.yaml"]
    found = [f"{path.relative_to(ROOT)}: {problem}" for path in files for problem in problems(path)]
    sys.stdout.write("\n".join([*found, f"{len(files)} files"]) + "\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
