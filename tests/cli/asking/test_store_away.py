"""Commands that have to ask the store, while it does not answer."""

from pathlib import Path

import pytest

from tests.cli.command import gateway
from tests.cli.conftest import Process, Start
from tests.fakes.ports import free_port


@pytest.fixture
def running(start_gateway: Start) -> Process:
    return start_gateway("--store", f"redis://127.0.0.1:{free_port()}")


def test_they_end_as_where_nobody_answers(running: Process) -> None:
    asked = ("--admin", f"127.0.0.1:{running.admin_port}")
    why = "a test"
    for words in (
        ("limits", "show", "tenant-10m", "acme"),
        ("limits", "reset", "tenant-10m", "acme"),
        ("limits", "grant", "tenant-10m", "acme", "--limit", "5", "--reason", why),
        ("limits", "granted"),
        ("connections",),
        ("connections", "conn_42"),
    ):
        done = gateway(*words, *asked)
        assert (done.returncode, done.stdout) == (3, ""), words
        assert "answers 503: The store does not answer" in done.stderr
    for words in (("limits", "show"), ("status",), ("explain", "GET /hello", "-H", "X-Tenant-Id: acme", "--live")):
        assert gateway(*words, *asked).returncode == 0, "it can be told without the store"
    assert gateway("limits", "show", "no-such", "acme", *asked).returncode == 1


DENYING = """
limits:
  all: {algorithm: rolling_window, limit: 5, window: 1m, key: [], on_store_error: deny, mode: %s}
  calm: {algorithm: rolling_window, limit: 5, window: 1m, key: [], on_store_error: allow}
upstreams: {api: {url: "builtin:echo"}}
routes: [{name: all, upstream: api, limits: [%s]}]
"""


@pytest.mark.parametrize(
    ("mode", "used", "ready"),
    [("enforce", "all", 503), ("shadow", "all", 200), ("enforce", "calm", 200)],
)
def test_a_gateway_is_not_ready_only_if_it_refuses_calls(
    start_gateway: Start, tmp_path: Path, mode: str, used: str, ready: int
) -> None:
    (tmp_path / "p.yaml").write_text(DENYING % (mode, used))
    running = start_gateway("--store", f"redis://127.0.0.1:{free_port()}", "-p", str(tmp_path / "p.yaml"))
    assert (running.get("/readyz", admin=True).status, running.get("/").status) == (ready, ready)
