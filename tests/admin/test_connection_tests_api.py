"""The operation that tests a connection: what is tested, and what is said when that is not clear."""

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.core.connections.counts import Row
from gateway.core.connections.names import name_of
from gateway.core.connections.state import Report
from gateway.core.upstream import Upstream
from tests.admin.conftest import UPSTREAM, Admin

OTHER = Upstream("crm", "https", "crm.example", 443, "crm.example")


def leading_to(admin: Admin, upstreams: Sequence[Upstream], *failing: str) -> list[tuple[str, str, str]]:
    """The worker tests these; what it was asked for is in the list."""
    asked: list[tuple[str, str, str]] = []

    async def check(connection: str, tenant: str, upstream: Upstream) -> Mapping[str, Any]:
        asked.append((connection, tenant, upstream.name))
        ok = None if f"{upstream.name}?" in failing else upstream.name not in failing
        return {"upstream": upstream.name, "ok": ok, "steps": []}

    admin.worker.check_connection = check  # type: ignore[attr-defined]
    admin.worker.upstreams_of = lambda _connection, _tenant: upstreams  # type: ignore[attr-defined]
    return asked


async def test_all_that_it_leads_to(admin: Admin) -> None:
    asked = leading_to(admin, [UPSTREAM, OTHER], "crm")
    status, body, _ = await admin.ask("/-/connections/a%2Fb%20c/test?tenant=acme", "POST")
    assert (status, body["connection"], body["tenant"], body["ok"]) == (200, "a/b c", "acme", False)
    assert [one["ok"] for one in body["upstreams"]] == [True, False]
    assert asked == [("a/b c", "acme", "erp-api"), ("a/b c", "acme", "crm")]


async def test_the_one_that_is_named(admin: Admin) -> None:
    asked = leading_to(admin, [])
    status, body, _ = await admin.ask("/-/connections/c1/test?upstream=erp-api", "POST")
    assert (status, body["ok"], body["tenant"], asked) == (200, True, None, [("c1", "", "erp-api")])


async def test_what_cannot_be_tested(admin: Admin) -> None:
    leading_to(admin, [])
    for target, status, code in (
        ("/-/connections/c1/test?upstream=none", 404, "NO_SUCH_UPSTREAM"),
        ("/-/connections/c1/test", 404, "NO_SUCH_UPSTREAM"),
        (f"/-/connections/{'c' * 129}/test", 400, "BAD_QUESTION"),
        ("/-/connections/c%0d%0a/test", 400, "BAD_QUESTION"),
        (f"/-/connections/c1/test?tenant={'t' * 129}", 400, "BAD_QUESTION"),
    ):
        answer = await admin.ask(target, "POST")
        assert (answer[0], answer[1]["code"]) == (status, code), target
    leading_to(admin, [OTHER] * 9)
    assert (await admin.ask("/-/connections/c1/test", "POST"))[1]["code"] == "SEVERAL_UPSTREAMS"
    assert (await admin.ask("/-/connections/c1/test"))[0] == 405
    origin = {"Origin": "https://evil.example"}
    assert (await admin.ask("/-/connections/c1/test", "POST", headers=origin))[0] == 403


async def test_of_one_it_cannot_be_told(admin: Admin) -> None:
    for failing, ok in ((("crm?",), None), (("crm?", "erp-api"), False)):
        leading_to(admin, [UPSTREAM, OTHER], *failing)
        assert (await admin.ask("/-/connections/c1/test", "POST"))[1]["ok"] is ok


async def test_whose_it_is_when_nobody_says_it(admin: Admin) -> None:
    """As `GET` finds it. Whom only a hash or an escape is known of cannot be told to the upstream."""
    asked = leading_to(admin, [UPSTREAM])
    known = (
        ("acme", "c1"),
        ("acme", "c2"),
        ("beta", "c2"),
        ("", "c3"),
        ("acme", "c3"),
        ("t" * 129, "c4"),
        ("\udcff", "c5"),
        ("ü", "c6"),
    )
    ok = Report((Row("", "", ok=1),), answer_us=0)
    await admin.worker.statuses.report([(name_of(tenant, connection), ok) for tenant, connection in known])
    for name, tenant in (("c1", "acme"), ("c3", ""), ("c4", ""), ("c5", ""), ("c6", "ü"), ("unknown", "")):
        status, body, _ = await admin.ask(f"/-/connections/{name}/test", "POST")
        assert (status, body["tenant"], asked.pop()[1]) == (200, tenant or None, tenant), name
    assert (await admin.ask("/-/connections/c1/test?tenant=", "POST"))[1]["tenant"] is None
    status, body, _ = await admin.ask("/-/connections/c2/test", "POST")
    assert (status, body["code"], body["detail"][-15:]) == (409, "SEVERAL_CONNECTIONS", "'acme', 'beta'.")
    await admin.worker.store.close()
    assert (await admin.ask("/-/connections/c1/test", "POST"))[1]["tenant"] is None
