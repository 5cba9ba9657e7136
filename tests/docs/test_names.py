"""Names that pages use are names that the program uses: metrics, alerts, events, settings from the environment."""

import re
from pathlib import Path

import pytest
import yaml

from gateway.observe.log.events import EVENTS
from gateway.observe.metrics.instruments import INSTRUMENTS
from gateway.policy.changes import when
from gateway.settings import Settings, leaves
from tests.docs.pages import PAGES, ROOT, name_of
from tests.docs.test_links import codes

RULES = yaml.safe_load((ROOT / "config" / "deploy" / "prometheus-rules.yaml").read_text())
ALERTS = {rule["alert"] for group in RULES["groups"] for rule in group["rules"] if "alert" in rule}
ACTIONS = {
    action
    for path in (ROOT / "gateway").rglob("*.py")
    for action in re.findall(r'"([a-z]+\.[a-z_]+)"', path.read_text())
}
"""What is done under such a name: changes on record, the operation of a test."""
SETTINGS = yaml.safe_load((ROOT / "config" / "gateway.yaml").read_text())
KEYS = {f"{section}.{key}" for section, keys in SETTINGS.items() if isinstance(keys, dict) for key in keys}
FAMILIES = {name.partition(".")[0] for name in EVENTS}


@pytest.mark.parametrize(
    ("row", "kind"), [("at once", "at_once"), ("with new workers", "new_workers"), ("with a [new gateway]", "restart")]
)
def test_the_page_about_reloads_says_when_each_setting_takes_effect(row: str, kind: str) -> None:
    """Each has its own name or that of its section in the row."""
    (line,) = [one for one in (ROOT / "docs/reload.md").read_text().splitlines() if one.startswith(f"| {row}")]
    named = set(re.findall(r"`([a-z_.]+)`", line))
    keys = {key.removesuffix("_us") for key, _ in leaves(Settings())}
    assert named <= keys | {key.partition(".")[0] for key in keys}
    assert {key for key in keys if when(key) == kind and named.isdisjoint({key, key.partition(".")[0]})} == set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_metrics_and_alerts_exist(page: Path) -> None:
    text = page.read_text()
    named = re.findall(r"\bgateway_[a-z]+_[a-z_]*[a-z]\b(?![*.])", text)
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in named} - INSTRUMENTS.keys() == set()
    assert set(re.findall(r"\bGateway[A-Z]\w+", text)) <= ALERTS


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "logs.md"], ids=name_of)
def test_events_exist(page: Path) -> None:
    """`family.name` in code, of a family of events. Settings, files and fields look alike; docs/logs.md has a test of its own."""
    named = {code for code in codes(page) if re.fullmatch(r"[a-z]+\.[a-z_]+", code)}
    said = {code for code in named if code.partition(".")[0] in FAMILIES - {"gateway", "config"}}
    assert sorted(said - EVENTS.keys() - ACTIONS - KEYS) == []
