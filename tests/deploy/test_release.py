"""What a release says of itself: one version, a licence, a changelog that tools can read."""

import re
import tomllib
from pathlib import Path

from gateway import __version__
from tests.cli.command import gateway

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
CHANGES = (ROOT / "CHANGELOG.md").read_text()
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_version_stands_in_one_place() -> None:
    assert "version" not in PROJECT
    assert PROJECT["dynamic"] == ["version"]
    assert PYPROJECT["tool"]["hatch"]["version"]["path"] == "gateway/__init__.py"
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)
    assert gateway("--version").stdout == f"gateway {__version__}\n"
    sources = [path for path in (ROOT / "gateway").rglob("*.py") if path.name != "__init__.py"]
    assert [path for path in sources if f'"{__version__}"' in path.read_text()] == []


def test_licence_and_types_are_declared() -> None:
    assert PROJECT["license"] == "MIT"
    for file in (*PROJECT["license-files"], PROJECT["readme"], "gateway/py.typed"):
        assert (ROOT / file).is_file(), file
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")
    assert "Typing :: Typed" in PROJECT["classifiers"]


def test_every_dependency_has_an_upper_bound() -> None:
    """But for data that is only added to."""
    for line in PROJECT["dependencies"]:
        assert "<" in line.partition(";")[0] or line.startswith("tzdata"), line


def test_the_changelog_is_kept_as_it_says() -> None:
    """https://keepachangelog.com/en/1.1.0/"""
    versions = re.findall(r"^## (.*)$", CHANGES, re.MULTILINE)
    assert versions[0] == "[Unreleased]"
    assert [one for one in versions[1:] if not re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", one)] == []
    assert set(re.findall(r"^### (.*)$", CHANGES, re.MULTILINE)) <= KINDS
