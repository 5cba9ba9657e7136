"""The call to try that a started gateway shows."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.cli.starting.banner import banner, sample_call
from gateway.policy import check, load, load_default
from gateway.policy.settings_file import load_settings
from gateway.supervisor import Running

POLICY = """
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: reject}
limits:
  calls: {algorithm: rolling_window, limit: 5, window: 1m, key: [tenant]}
authentication:
  service: {type: api_keys, header: %s, keys: [{id: one, hash: "blake2b:%s"}]}
upstreams:
  sample: {url: "builtin:echo"}
routes:
  - {name: closed, match: {path_prefix: /closed/}, upstream: sample, limits: [calls], authenticate: [service]}
"""
OPEN = "  - {name: open, match: {path_prefix: /open/}, upstream: sample, limits: [calls]}\n"


@pytest.fixture
def sample(tmp_path: Path) -> Callable[[str], str]:
    def of(text: str) -> str:
        (tmp_path / "p.yaml").write_text(text)
        report = check([tmp_path / "p.yaml"])
        assert report.policies is not None, report.errors
        return sample_call(report.policies, "http://h")

    return of


def test_a_route_that_knows_its_callers_is_tried_only_if_there_is_no_other(sample: Callable[[str], str]) -> None:
    closed = POLICY % ("X-Api-Key", "0" * 64)
    assert sample(closed + OPEN) == "curl -i -H 'X-Tenant-Id: demo' http://h/open/hello"
    assert sample(closed) == "curl -i -H 'X-Api-Key: YOUR-CREDENTIALS' -H 'X-Tenant-Id: demo' http://h/closed/hello"
    bearer = POLICY % ("Authorization", "0" * 64)
    assert "-H 'Authorization: Bearer YOUR-CREDENTIALS'" in sample(bearer)


def test_files_below_that_are_not_read_are_told_beside_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "team").mkdir()
    for name in ("p.yaml", "team/p.yaml"):
        (tmp_path / name).write_text(POLICY % ("X-Api-Key", "0" * 64))
    running = Running(load_settings(None, {}, {"policies": tmp_path}), load([tmp_path]), "", store_up=True)
    assert (
        f"  policies  {tmp_path / 'p.yaml'} (version {running.policies.version}); not those in {tmp_path / 'team'}\n"
        in (banner(running))
    )
    ours = replace(running, policies=load_default("http://127.0.0.1:1"))
    assert "not those" not in banner(ours)
