"""docs/admin-api.md lists exactly the routes and the errors there are."""

import re
from pathlib import Path

import gateway.admin
from gateway.admin.table import ENDPOINTS

DOC = (Path(__file__).parents[2] / "docs" / "admin-api.md").read_text()


def test_routes() -> None:
    described = re.findall(r"^\| (GET|PUT|POST|DELETE) \| `(\S+)` \| (.*) \|$", DOC, re.MULTILINE)
    assert described == [(endpoint.method, endpoint.path, endpoint.about) for endpoint in ENDPOINTS]


def test_errors() -> None:
    described = {
        (int(status), code) for status, code in re.findall(r"^\| (\d{3}) \| `([A-Z_]+)` \|", DOC, re.MULTILINE)
    }
    raised = set()
    for path in Path(gateway.admin.__file__).parent.glob("*.py"):
        raised |= set(re.findall(r'AdminProblem\(\s*(\d{3}|error\.status), "([A-Z_]+)"', path.read_text()))
    assert described == {(400 if status == "error.status" else int(status), code) for status, code in raised}
