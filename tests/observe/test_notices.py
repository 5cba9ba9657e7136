"""How loud an event of the store is told."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.observe.reports import notices
from gateway.store.connection.faults import fault_of


@pytest.mark.parametrize(
    ("said", "level"),
    [
        ("LOADING Redis is loading the dataset in memory", "warning"),
        ("OOM command not allowed when used memory > 'maxmemory'.", "warning"),
        ("WRONGPASS invalid username-password pair or user is disabled.", "error"),
        ("NOPERM this user has no permissions to run the 'evalsha' command", "error"),
        ("ERR The user executing the script can't run this command or subcommand", "error"),
        ("ERR unknown command 'EVALSHA', with args beginning with:", "error"),
        ("ERR Unknown Redis command called from script", "error"),
        ("MOVED 866 127.0.0.1:6380", "error"),
        ("CROSSSLOT Keys in request don't hash to the same slot", "error"),
    ],
)
def test_what_no_waiting_mends_is_an_error(monkeypatch: pytest.MonkeyPatch, said: str, level: str) -> None:
    told: list[str] = []
    monkeypatch.setattr(notices, "notice", lambda _name, level, _fields: told.append(level))
    metrics = cast("Any", SimpleNamespace(on_store_event=lambda _name, _fields: None))
    fault = fault_of(said)
    notices.store_event(metrics, "store.degraded", {"kind": fault.kind, "detail": fault.detail})
    notices.store_event(metrics, "store.recovered", {"down_s": 1.0})
    assert told == [level, "info"]


def test_lost_data_is_a_warning_in_a_whole_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, str]] = []
    monkeypatch.setattr(notices, "event", lambda _name, message, level: told.append((level, message)))
    metrics = cast("Any", SimpleNamespace(on_store_event=lambda _name, _fields: None))
    notices.store_event(metrics, "store.emptied", {})
    assert told == [("warning", "The store has lost its data")]
