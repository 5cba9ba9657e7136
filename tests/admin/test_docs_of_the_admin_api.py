"""docs/admin-api.md lists exactly the routes and the errors there are."""

import json
import re
from pathlib import Path

import gateway.admin
from gateway.admin.openapi import openapi
from gateway.admin.table import ENDPOINTS

DOC = (Path(__file__).parents[2] / "docs" / "admin-api.md").read_text()


def test_every_operation_is_documented() -> None:
    described = re.findall(r"^\| (GET|PUT|POST|DELETE) \| `(\S+)` \| (.*) \|$", DOC, re.MULTILINE)
    assert described == [(endpoint.method, endpoint.path, endpoint.about) for endpoint in ENDPOINTS]


def test_every_error_code_is_documented() -> None:
    described = {
        (int(status), code) for status, code in re.findall(r"^\| (\d{3}) \| `([A-Z_]+)` \|", DOC, re.MULTILINE)
    }
    raised = set()
    for path in Path(gateway.admin.__file__).parent.rglob("*.py"):
        raised |= set(re.findall(r'AdminProblem\(\s*(\d{3}|error\.status), "([A-Z_]+)"', path.read_text()))
    assert described == {(400 if status == "error.status" else int(status), code) for status, code in raised}


def test_the_description_for_machines_has_every_operation() -> None:
    """That it is OpenAPI, and that a gateway does as it says, is for the tools in `.ci/run`."""
    document = json.loads(json.dumps(openapi(ENDPOINTS)))
    described = {
        (method.upper(), path)
        for path, operations in document["paths"].items()
        for method in operations
        if method not in ("head", "parameters")
    }
    assert described == {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}
    names = [one["operationId"] for path in document["paths"].values() for one in path.values() if "operationId" in one]
    assert len(names) == len(set(names))
    for path, operations in document["paths"].items():
        assert [one["name"] for one in operations.get("parameters", [])] == re.findall(r"{(\w+)}", path)
