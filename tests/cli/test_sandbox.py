"""A sandbox in front of nothing: a real gateway with the shipped example, and fixtures that are edited while it serves."""

import json
import shutil
from pathlib import Path

import pytest

from gateway.policy.shipped import shipped
from tests.cli.command import gateway
from tests.cli.conftest import Process, Start
from tests.fakes.waiting import until

EXAMPLE = "vendor-a-integration-platform.yaml"
CALLER = {"X-Account-Id": "me", "X-Connection-Id": "sbx_1"}


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    """The example, to be edited."""
    shutil.copytree(shipped("policies/examples/fixtures"), tmp_path / "policies" / "fixtures")
    shutil.copy(shipped(f"policies/examples/{EXAMPLE}"), tmp_path / "policies" / EXAMPLE)
    return tmp_path / "policies"


@pytest.fixture
def serving(start_gateway: Start, policies: Path) -> Process:
    return start_gateway("-p", str(policies / EXAMPLE), "--workers", "2")


def save(file: Path, text: str) -> None:
    """As a careful editor does: whole, under another name first."""
    new = file.with_name(".new")
    new.write_text(text)
    new.rename(file)


def first_order(process: Process) -> object:
    answer = process.get("/integrations/orders", CALLER)
    assert answer.headers["X-Gateway-Sandbox"] == "true"
    return json.loads(answer.body)["data"][0]["status"]  # type: ignore[attr-defined]


def everywhere(process: Process, status: str) -> bool:
    """Connections of their own reach both workers, sooner or later."""
    return all(first_order(process) == status for _ in range(3))


def test_fixtures_are_followed_and_a_mistake_in_them_changes_nothing(serving: Process, policies: Path) -> None:
    fixtures = policies / "fixtures" / "vendor-a" / "fixtures.yaml"
    good = fixtures.read_text()
    assert first_order(serving) == "open"
    save(fixtures, good.replace("status: open", "status: lost"))
    serving.wait_for("policy.loaded", 3)
    assert everywhere(serving, "lost")
    save(fixtures, good.replace("list: orders", "list: order"))
    told = serving.wait_for("policy.rejected")[0]
    line = good[: good.index("list: orders")].count("\n") + 1
    assert (
        told["errors"][0]
        == f"{fixtures}:{line}:11: records 'order' are not defined (did you mean 'orders'?) [undefined-name]"
    )
    assert everywhere(serving, "lost")
    fixtures.unlink()
    serving.wait_for("policy.rejected", 2)
    assert everywhere(serving, "lost")
    save(fixtures, good)
    serving.wait_for("policy.loaded", 4)
    until(lambda: everywhere(serving, "open"), "the first answers again")


def test_explain_says_where_the_answer_comes_from(policies: Path) -> None:
    fields = [f"--header={name}: {value}" for name, value in CALLER.items()]
    done = gateway("explain", "GET /integrations/orders", "-p", str(policies / EXAMPLE), *fields)
    assert done.returncode == 0
    last = done.stdout.splitlines()[-1]
    assert last.startswith("sandbox     answers from ")
    assert last.endswith("fixtures/vendor-a/fixtures.yaml, nothing is sent")
    fields[1] = "--header=X-Connection-Id: real"
    assert (
        "sandbox" not in gateway("explain", "GET /integrations/orders", "-p", str(policies / EXAMPLE), *fields).stdout
    )
