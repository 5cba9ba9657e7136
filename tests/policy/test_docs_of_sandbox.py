"""What docs/sandbox.md shows is true."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from multidict import CIMultiDict

from gateway.core.problems import Refusal
from gateway.core.sandbox import Fixtures
from gateway.core.sandbox.samples import Asked
from gateway.policy import check

TEXT = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text()
POLICY, FIXTURES = re.findall(r"^```yaml[^\n]*\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def fixtures(directory: Path) -> Fixtures:
    """Those of the document, beside its policy."""
    (directory / "fixtures" / "orders").mkdir(parents=True)
    (directory / "fixtures" / "orders" / "fixtures.yaml").write_text(FIXTURES)
    (directory / "policy.yaml").write_text(POLICY)
    report = check([directory / "policy.yaml"])
    assert (report.errors, report.warnings) == ((), ())
    assert report.policies is not None
    sandbox = report.policies.routes[0].sandbox
    assert sandbox is not None
    assert sandbox.when.holds({"connection": "sbx_1"}, CIMultiDict())
    return sandbox.fixtures


def test_its_fixtures_answer_as_it_says(directory: Path) -> None:
    ours = fixtures(directory)

    def answer(method: str, path: str, query: str = "", body: bytes = b"") -> tuple[int, object]:
        reply = ours.reply(Asked(method, path, query, CIMultiDict[str](), body))
        if isinstance(reply, Refusal):
            return reply.kind.status, reply.kind.code
        return reply.status, json.loads(reply.body) if reply.body else None

    status, page = answer("GET", "/orders", "status=open")
    assert status == 200
    assert isinstance(page, Mapping)
    assert [order["id"] for order in page["data"]] == ["1001"]
    assert {name: page[name] for name in ("total", "limit", "offset")} == {"total": 1, "limit": 20, "offset": 0}
    assert answer("GET", "/orders", "case=500") == (500, {"error": "server_error"})
    assert answer("GET", "/orders/1003") == (404, "SANDBOX_NO_FIXTURE")
    assert answer("GET", "/nothing") == (404, "SANDBOX_NO_FIXTURE")
    order = {"customer_id": "c-9", "lines": []}
    assert answer("POST", "/orders", "", json.dumps(order).encode()) == (201, {**order, "id": "sandbox-3"})
    assert answer("POST", "/orders", "", b"{}") == (422, "SANDBOX_INVALID")
    assert answer("DELETE", "/orders/1001") == (204, None)
