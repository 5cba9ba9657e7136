"""`gateway diff`: what is told of two sets, and the exit code for scripts."""

import json
import shutil
from pathlib import Path

import pytest

from gateway.policy.shipped import shipped
from tests.cli.command import gateway

OLD = """
keys: {tenant: {from: header, name: X-Tenant-Id, on_missing: reject}}
limits:
  a: {algorithm: rolling_window, limit: 500, window: 10m, key: [tenant]}
  b: {algorithm: token_bucket, rate: 60, per: 1m, key: [tenant]}
upstreams: {up: {url: "builtin:echo"}}
routes: [{name: all, upstream: up, limits: [a, b]}]
"""
NEW = OLD.replace("limit: 500, window: 10m", "limit: 400, window: 600s").replace("rate: 60", "rate: 90")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(OLD)
    new.write_text(NEW)
    return old, new


def test_each_change_is_told_with_what_it_means(files: tuple[Path, Path]) -> None:
    done = gateway("diff", *files)
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        f"limits a: changed, tighter  # {files[1]}:4",
        "    limit: 500 -> 400",
        f"limits b: changed, looser  # {files[1]}:5",
        "    burst: 60 -> 90",
        "    rate: 60 -> 90",
        "2 differences; limits: 1 tighter, 1 looser",
    ]


MORE = """
breakers: {b: {key: [tenant], failure_rate: 50%, open_for: 10s, open_backoff: 2}}
retries: {r: {attempts: 3, backoff: {schedule: [1s], jitter: 10%}, budget: {percent: 20}}}
upstreams: {up: {url: "http://crm.example", learn_limits: {scope: tenant, max: 15m}}}
routes:
  - name: all
    upstream: up
    limits: [a, b]
    breaker: b
    retry: r
    modules: {cache: {match: {path: [/a, /b]}, vary_by: [tenant], ttl: 5m, max_size: 8MiB}}
"""
EDITS = {
    "failure_rate: 50%": ("failure_rate: 40.5%", "failure_rate: 50% -> 40.5%"),
    "open_for: 10s": ("open_for: 1m, scope: local", "scope: shared -> local", "open_for: 10s -> 1m"),
    "open_backoff: 2": ("open_backoff: 2.5", "open_backoff: 2 -> 2.5"),
    "jitter: 10%": ("jitter: 20%", "backoff.jitter: 10% -> 20%"),
    "percent: 20": ("percent: 10", "budget.percent: 20 -> 10"),
    "budget: {percent: 20}": ("on_exhausted: {event: none}", "on_exhausted.log: error -> none"),
    "attempts: 3,": ("attempts: 3, budget: none, ", 'budget: {"percent": 20, "min_concurrent": 3} -> none'),
    "attempts: 3, ": (
        "attempts: 3, on_status: [429, 5xx], on_error: [connect, reset, timeout], max_body: 2KiB, ",
        'on_status: [429, 500, 502, 503, 504] -> [429, "5xx"]',
        'on_error: ["connect", "reset_before_response"] -> ["connect", "timeout", "reset"]',
        "max_body: 1048576 -> 2048",
    ),
    "keys: {tenant: {from: header, name: X-Tenant-Id": (
        "keys: {tenant: {from: query, name: who",
        "from: header -> query",
        "name: x-tenant-id -> who",
    ),
    "crm.example": ("erp.example/v2", "url.host: crm.example -> erp.example", "url.path: none -> /v2"),
    "max: 15m": ("max: 5m, from: Retry-After", "learn_limits.max: 15m -> 5m"),
    "scope: tenant": ("scope: everybody", 'learn_limits.scope: ["tenant"] -> []'),
    "max_size: 8MiB": (
        "max_size: 9MiB, store: local",
        "cache.max_size: 8388608 -> 9437184",
        "cache.store: shared -> local",
    ),
}


@pytest.mark.parametrize("before", EDITS)
def test_what_changed_is_told_in_the_words_of_the_language(files: tuple[Path, Path], before: str) -> None:
    """Of what is large only that: two hundred letters of the rest would hide it."""
    old, new = files
    whole = OLD.partition("upstreams:")[0] + MORE
    after, *expected = EDITS[before]
    edited = whole.replace(", budget: {percent: 20}", "") if after.startswith("attempts") else whole
    old.write_text(whole)
    new.write_text(edited.replace(before, after))
    told = [line.strip() for line in gateway("diff", old, new).stdout.splitlines()]
    assert set(expected) <= set(told)
    assert not any(word in line for line in told for word in ("_ppm", "_milli", "learning", "..."))


def test_scripts_can_ask_whether_there_is_any(files: tuple[Path, Path]) -> None:
    old, new = files
    assert gateway("diff", old, new, "--exit-code").returncode == 1
    same = gateway("diff", old, old, "--exit-code")
    assert (same.returncode, same.stdout) == (0, "no difference\n")


def test_what_has_no_effect_on_callers_says_nothing_of_it(files: tuple[Path, Path]) -> None:
    old, new = files
    new.write_text(OLD.replace("name: all", "name: every"))
    assert f"routes every: added  # {new}:7" in gateway("diff", old, new).stdout.splitlines()


@pytest.mark.parametrize("name", ["starter", "vendor-a-integration-platform", "vendor-b-crm", "vendor-c-psa"])
def test_where_something_stands_makes_no_difference(name: str, tmp_path: Path) -> None:
    old = shipped(f"policies/examples/{name}.yaml")
    shutil.copytree(old.parent / "fixtures", tmp_path / "fixtures")
    new = tmp_path / "moved.yaml"
    new.write_text("# A line more.\n" + old.read_text())
    assert gateway("diff", old, new).stdout == "no difference\n"


def test_durations_in_overrides_are_as_policies_write_them(files: tuple[Path, Path]) -> None:
    old, new = files
    new.write_text(
        old.read_text().replace("key: [tenant]}", "key: [tenant], overrides: [{match: {tenant: a}, window: 1h}]}", 1)
    )
    said = gateway("diff", old, new).stdout
    assert 'overrides: [] -> [{"match": {"tenant": "a"}, "mode": "enforce", "limit": 500, "window": "1h"}]' in said


def test_as_json(files: tuple[Path, Path]) -> None:
    document = json.loads(gateway("diff", *files, "--json").stdout)
    assert document["different"]
    assert [(one["name"], one["effect"]) for one in document["differences"]] == [("a", "tighter"), ("b", "looser")]


def test_without_old_it_is_what_the_settings_name(files: tuple[Path, Path], tmp_path: Path) -> None:
    config = tmp_path / "gateway.yaml"
    config.write_text("version: 1\npolicies: old.yaml\n")
    assert "1 tighter, 1 looser" in gateway("diff", files[1], "-c", config).stdout


def test_a_candidate_that_is_not_valid_is_told_as_check_would(files: tuple[Path, Path], tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(OLD.replace("limit: 500", "limit: 0"))
    done = gateway("diff", files[0], bad)
    assert done.returncode == 1
    assert done.stdout == ""
    assert f"{bad}:4:" in done.stderr


@pytest.mark.parametrize("words", [[], ["a", "b", "c"], ["--running", "a", "b"]])
def test_other_numbers_of_paths_are_usage_errors(words: list[str]) -> None:
    assert gateway("diff", *words).returncode == 2
