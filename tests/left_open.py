"""Sockets that a test leaves open on uvloop: told at the end of the run, which fails for them.

uvloop warns of them while it closes. Were the warning raised there, as all others are here, uvloop would leave the
socket as it is and wait for its end for ever (0.23).
"""

from warnings import WarningMessage

import pytest

_found: list[str] = []


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("filterwarnings", "always:unclosed resource:ResourceWarning")


def pytest_warning_recorded(warning_message: WarningMessage, nodeid: str) -> None:
    if str(warning_message.message).startswith("unclosed resource"):
        _found.append(f"{nodeid or 'between tests'}: {warning_message.message}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _found and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _found:
        terminalreporter.section("left open", red=True)
        for line in _found:
            terminalreporter.write_line(line)
