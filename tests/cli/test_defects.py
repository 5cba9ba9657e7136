"""Errors that nobody expected: one line, and an exit code after which a service manager starts the gateway again."""

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

import gateway.cli
from gateway.cli import main

UNIT = Path(__file__).parents[2] / "config" / "deploy" / "gateway.service"


def ending_with(error: Exception) -> Callable[[], NoReturn]:
    def app() -> NoReturn:
        raise error

    return app


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyError("x"), 70, "gateway: unexpected KeyError: 'x' (set GATEWAY_TRACEBACK=1 to see where)\n"),
        (OSError(28, "No space left on device"), 4, "gateway: [Errno 28] No space left on device\n"),
    ],
)
def test_a_defect_is_one_line_and_no_reason_to_stay_down(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, code: int, said: str
) -> None:
    monkeypatch.setattr(gateway.cli, "app", ending_with(error))
    monkeypatch.setattr(gateway.cli, "open_standard_streams", lambda: None)
    monkeypatch.delenv("GATEWAY_TRACEBACK", raising=False)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == code
    assert capsys.readouterr().err == said
    (prevented,) = (line for line in UNIT.read_text().splitlines() if line.startswith("RestartPreventExitStatus="))
    assert str(code) not in prevented.partition("=")[2].split()
