"""Policy files that exist for one test, named as they are written: `p.yaml` in the working directory."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.policy import Report, check


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, so that positions are `p.yaml:1:1`."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def report_of(directory: Path) -> Callable[..., Report]:
    """Checks files of these texts as one set: `p.yaml`, `q.yaml`, ..."""

    def of(*texts: str | bytes) -> Report:
        paths = [Path(f"{name}.yaml") for name in "pqrs"[: len(texts)]]
        for path, text in zip(paths, texts, strict=True):
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return check(paths)

    return of


@pytest.fixture
def errors_of(report_of: Callable[..., Report]) -> Callable[..., list[str]]:
    """The errors of such a set as text; there must be some."""

    def of(*texts: str | bytes) -> list[str]:
        report = report_of(*texts)
        assert (report.policies is None) == bool(report.errors)
        return [str(error) for error in report.errors]

    return of
