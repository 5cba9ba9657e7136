"""A variant of a live limit, by another algorithm: seen wherever operators look, and nowhere by callers."""

import json
from pathlib import Path

import pytest

from tests.cli.command import gateway
from tests.cli.conftest import Start
from tests.fakes.ports import free_port

POLICY = """
keys: {tenant: {from: header, name: X-Tenant-Id, on_missing: reject}}
limits:
  live:
    algorithm: rolling_window
    limit: 500
    window: 10m
    key: [tenant]
    shadow: {algorithm: token_bucket, rate: 1, per: 10m, burst: 3}
upstreams: {up: {url: "builtin:echo"}}
routes: [{name: all, upstream: up, limits: [live]}]
"""


def test_a_variant_is_told_of_to_operators_alone(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy, port, admin = tmp_path / "p.yaml", free_port(), free_port()
    policy.write_text(POLICY)
    words = ["-p", str(policy), "--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}"]
    process = start("-m", "gateway", "run", "-q", *words)
    process.port, process.admin_port = port, admin
    process.wait_for("gateway.ready")
    answers = [process.get("/x", {"X-Tenant-Id": "acme"}) for _ in range(5)]
    assert [answer.status for answer in answers] == [200] * 5
    assert answers[-1].headers["RateLimit-Policy"] == '"live";q=500;w=600'
    assert answers[-1].headers["X-RateLimit-Remaining"] == "495"
    assert "shadow" not in str(answers[-1].headers)
    lines = process.wait_for("http.access", 5)
    assert [line["decision"] for line in lines] == ["allowed"] * 3 + ["shadow_limited"] * 2
    variant = lines[-1]["limits"][1]
    assert (variant["name"], variant["mode"], variant["decision"], variant["limit"]) == (
        "live.shadow",
        "shadow",
        "shadow_limited",
        3,
    )
    metrics = process.get("/metrics", admin=True).body.decode()  # type: ignore[attr-defined]
    assert (
        'gateway_limit_decisions_total{decision="shadow_limited",limit="live.shadow",store="embedded"} 2.0' in metrics
    )
    assert 'gateway_limit_decisions_total{decision="allowed",limit="live",store="embedded"} 5.0' in metrics
    monkeypatch.setenv("GATEWAY_ADMIN", f"127.0.0.1:{admin}")
    (caller,) = json.loads(gateway("top", "--by", "shadow_rejected", "--json").stdout)["callers"]
    assert (caller["limit"], caller["key"], caller["count"]) == ("live.shadow", "acme", 2)
    told = json.loads(gateway("explain", "/x", "-H", "X-Tenant-Id: acme", "--live", "--json").stdout)
    assert told["decision"] == {"admitted": True}
    assert (told["limits"][0]["remaining"], told["limits"][0]["shadow"]["remaining"]) == (495, 0)
