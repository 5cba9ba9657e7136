"""Nothing is counted or matched by a field that is another for each call."""

from pathlib import Path

import pytest

from gateway.policy import check

POLICY = """
version: 1
keys: {caller: {from: %s, name: %s, on_missing: anonymous}}
limits: {l: {algorithm: rolling_window, limit: 5, window: 1m, key: [caller]}}
upstreams: {up: {url: "http://up.example"}}
routes: [{name: all, match: {header: {%s: "*"}}, upstream: up, limits: [l]}]
"""


def said(text: str, tmp_path: Path) -> list[str]:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    return [f"{error.line}: {error.message} [{error.code}]" for error in check([path]).errors]


@pytest.mark.parametrize("name", ["X-Request-Id", "traceparent", "Traceparent"])
def test_ids_of_calls_say_neither_who_calls_nor_what(name: str, tmp_path: Path) -> None:
    low = name.lower()
    names = f"3: {low} names a call, not who is calling [bad-header-name]"
    matches = f"6: {low} is another for each call: match by others [bad-header-name]"
    assert said(POLICY % ("header", name, "X-Beta"), tmp_path) == [names]
    assert said(POLICY % ("api_key", name, "X-Beta"), tmp_path) == [names]
    assert said(POLICY % ("header", "X-Tenant-Id", name), tmp_path) == [matches]
    assert said(POLICY % ("query", "traceparent", "X-Beta"), tmp_path) == []
