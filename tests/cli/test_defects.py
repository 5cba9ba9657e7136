"""Errors that nobody expected: one line, and of a gateway an exit code after which a service manager starts it again."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

import gateway.cli
from gateway.cli import main
from gateway.cli.starting import run

UNIT = Path(__file__).parents[2] / "config" / "deploy" / "gateway.service"


def ending_with(error: Exception) -> Callable[[], NoReturn]:
    def app() -> NoReturn:
        raise error

    return app


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyError("x"), 70, "gateway: unexpected KeyError: 'x' (set GATEWAY_TRACEBACK=1 to see where)\n"),
        (OSError(28, "No space left on device"), 1, "gateway: No space left on device\n"),
        (PermissionError(13, "Permission denied", "demo/config"), 1, "gateway: demo/config: Permission denied\n"),
        (TimeoutError(), 1, "gateway: TimeoutError\n"),
    ],
)
def test_whatever_ends_a_command_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, code: int, said: str
) -> None:
    monkeypatch.setattr(gateway.cli, "app", ending_with(error))
    monkeypatch.delenv("GATEWAY_TRACEBACK", raising=False)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == code
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(("error", "code"), [(KeyError("x"), 70), (OSError(24, "Too many open files"), 4)])
def test_what_ends_a_gateway_unexpectedly_is_no_reason_to_stay_down(
    monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    monkeypatch.setattr(run, "_serve", lambda *_, **__: ending_with(error)())
    monkeypatch.setattr(sys, "argv", ["gateway", "run"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == code
    (prevented,) = (line for line in UNIT.read_text().splitlines() if line.startswith("RestartPreventExitStatus="))
    assert str(code) not in prevented.partition("=")[2].split()
