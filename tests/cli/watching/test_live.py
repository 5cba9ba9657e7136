"""`gateway status --watch` and `top --watch`: pages on a terminal, blocks and lines elsewhere."""

import io
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from gateway.cli import app
from gateway.cli.asking.client import AdminClient
from gateway.cli.watching.drawn import Section, curve, fitting, halves
from gateway.cli.watching.status import status_lines
from gateway.cli.watching.status_page import StatusPage
from tests.cli.admin import answering
from tests.fakes.waiting import until

ROOT = Path(__file__).parents[3]
ENVIRONMENT = {**os.environ, "PYTHONUNBUFFERED": "1"}

FOUND: dict[str, Any] = {
    "name": "gw", "version": "1", "policy_version": "0123456789ab", "loaded_at": "now", "calls_per_s": 12.5, "refused_share": 0.25,
    "in_flight": 3, "workers": [{}], "missing": [{"worker": 1, "reason": "no answer within 2 s"}], "switches": {"draining": True},
    "store": {"kind": "redis", "up": True, "round_trip_ms": 0.5},
    "latency": {"total": {"count": 4, "p50_ms": 1.0, "p99_ms": 9.0}, "store": {"count": 0}},
    "upstreams": [
        {
            "upstream": "crm", "calls": 1400, "failed": 34, "why": {"connect": 30, "503": 4},
            "latency": {"count": 1370, "p50_ms": 12.5, "p99_ms": 250.0},
        },
        {"upstream": "erp", "calls": 2, "failed": 2, "why": {"timeout": 2}, "denied": 7, "latency": {"count": 0}},
    ],
    "limits": [{"limit": "tenant-10m", "asked": 4, "limited": 1}],
    "top_rejected": [{"limit": "tenant-10m", "key": "ac\x1b[2Jme", "count": 1, "per_s": 0.1}],
    "connections": {"not_online": [{"connection": "c1", "state": "offline", "since": "2026-11-21T05:00:00Z"}]},
    "breakers": {"not_closed": [{"breaker": "fragile", "key": "*", "state": "open", "reason": "forced", "next_probe_s": 40}]},
    "reloads": [{"event_name": "policy.loaded", "timestamp": "2026-11-21T05:00:00Z", "version": "0123456789ab"}],
}  # fmt: skip


def drawn(page: StatusPage, found: dict[str, Any], width: int = 100, height: int = 60) -> str:
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    with console.capture() as capture:
        console.print(page(found))
    return capture.get()


def test_the_page_has_everything_that_needs_a_look() -> None:
    shown = drawn(StatusPage(), FOUND)
    for text in (
        "gw 1",
        "1 do not answer",
        "1 does not answer: no",
        "draining",
        "3 in flight",
        "redis, 0.5 ms",
        "12.5 a second",
        "25.0%",
    ):
        assert text in shown
    for row in (["tenant-10m", "4", "1", "0", "25%"], ["c1", "offline"], ["fragile", "everybody", "open"]):
        assert any(line.split()[: len(row)] == row for line in shown.splitlines()), shown
    for text in ("connect 30, 503 4", "timeout 2, 401 or 403 7"):
        assert text in shown
    assert "ac?[2Jme" in shown, "names of callers do not move the cursor"


REJECTED = {
    "event_name": "policy.rejected", "timestamp": "2026-11-21T05:00:01Z", "version": "0123456789ab",
    "errors": ["p.yaml:7:3: unknown key"],
}  # fmt: skip
OFFLINE = {
    "connection": "c0", "state": "offline", "since": "2026-11-21T05:00:00Z", "tenant": "acme",
    "last_failure": {"class": "timeout", "status": None},
}  # fmt: skip
OPEN = {"breaker": "b", "key": "c0", "state": "open", "reason": "forced", "next_probe_s": 9}
BAD_DAY: dict[str, Any] = {
    **FOUND,
    "connections": {"not_online": [{**OFFLINE, "connection": f"c{number}"} for number in range(20)]},
    "breakers": {"not_closed": [OPEN] * 5},
    "limits": [{"limit": f"limit-{number}", "asked": number} for number in range(20)],
    "credentials": {"failing": [{"credentials": "crm", "reason": "invalid_client", "serving": False}]},
    "webhooks": [{"receiver": "ops", "waiting": 1200, "dead": 7, "failures_in_a_row": 9}],
    "cache": [{"route": "crm", "hit_ratio": 0.875, "hits": 7, "misses": 1}],
    "reloads": [REJECTED],
}


@pytest.mark.parametrize(("width", "height"), [(80, 24), (80, 50), (200, 24), (200, 50)])
def test_what_is_wrong_is_seen_on_any_terminal(width: int, height: int) -> None:
    shown = drawn(StatusPage(), BAD_DAY, width, height).splitlines()
    seen = "\n".join(shown[: height - 1])
    for text in ("p.yaml:7:3: unknown key", "invalid_client", "next probe in 9 s", "c0", "timeout"):
        assert text in seen, text
    assert all(len(line) <= width for line in shown)


def test_a_large_terminal_shows_everything() -> None:
    shown = drawn(StatusPage(), BAD_DAY, 200, 60)
    assert ("c19" in shown, "limit-19" in shown, "88%" in shown, "more" in shown) == (True, True, True, False)
    assert any("offline" in line and "limit-" in line for line in shown.splitlines()), "beside each other"


def test_tables_are_cut_alike() -> None:
    long, short = Section(("a",), [["x"]] * 10), Section(("b",), [["x"]] * 2)
    assert fitting([long, short], 30) == 10
    assert fitting([long, short], 14) == 8
    assert fitting([long, short], 1) == 1
    assert halves([long, short, short]) == ([long], [short, short])


def test_what_was_not_told_is_said_to_be_there() -> None:
    """The listener tells of twenty: how many others there are nobody knows."""
    many = {**BAD_DAY, "breakers": {"not_closed": [OPEN] * 20, "more": True}}
    many["connections"] = {**BAD_DAY["connections"], "more": True}
    assert "and more than 19 others" in drawn(StatusPage(), many, 80, 24)
    assert "and others" in drawn(StatusPage(), many, 200, 200)
    lines = [line.strip() for line in status_lines(many)]
    assert "and others: gateway breaker show BREAKER" in lines
    assert "and others: gateway connections --state '!online'" in lines


def test_of_many_limits_the_lines_have_those_that_matter_most() -> None:
    many = [{"limit": f"limit-{number}", "asked": 100 - number} for number in range(30)]
    shown = [*status_lines({**FOUND, "limits": many})]
    assert any(line.startswith("limit-19") for line in shown)
    assert not any(line.startswith("limit-20") for line in shown)
    assert "and 10 more: --json has all" in shown


def test_the_same_in_lines() -> None:
    away = {
        "kind": "redis",
        "up": False,
        "down_s": 7.2,
        "reason": "connect",
        "error": "connect",
        "owing": 1,
        "fleet": {"workers": 1},
    }
    shown = [*status_lines({**FOUND, "store": away})]
    assert shown[0] == "gateway     gw 1, 1 worker, 1 do not answer, draining"
    assert "worker      1 does not answer: no answer within 2 s" in shown
    assert "calls       12.5 a second, 25.0% refused, 3 in flight" in shown
    assert "store       redis down for 7 s (connect); to be told when it is back: 1 counter" in shown
    assert "breaker     fragile of everybody is open: forced, next probe in 40 s" in shown
    broken = {
        **FOUND,
        "calls": 8,
        "by_status": {"4xx": 6, "5xx": 2},
        "by_source": {"pause": 1, "limit": 1, "gateway": 6},
    }
    said = "calls       12.5 a second, 25.0% refused (limit 1, pause 1), 25.0% answered with 5xx, 3 in flight"
    assert said in [*status_lines(broken)]
    assert any(line.split()[:2] == ["refused", "most"] for line in shown)
    bad_day = [*status_lines(BAD_DAY)]
    assert "token       crm is not renewed: invalid_client, calls that need it are refused" in bad_day
    assert "webhooks    ops: 1,200 wait, 7 are dead letters" in bad_day
    assert "            p.yaml:7:3: unknown key" in bad_day


def test_a_mistake_that_was_mended_is_no_alarm() -> None:
    mended = {"event_name": "policy.unchanged", "timestamp": "2026-11-21T05:00:02Z"}
    failed = {"event_name": "policy.failed", "timestamp": "2026-11-21T05:00:03Z", "reason": "worker 1 is gone"}
    assert "rejected at" not in drawn(StatusPage(), {**FOUND, "reloads": [mended, REJECTED]})
    assert "failed at 05:00:03: worker 1 is gone" in drawn(StatusPage(), {**FOUND, "reloads": [failed, mended]})


def test_a_store_that_is_down_says_why() -> None:
    away = {"kind": "redis", "up": False, "down_s": 7.2, "reason": "connect", "detail": "refused", "error": "connect"}
    assert "redis down for 7 s (connect, refused)" in drawn(StatusPage(), {**FOUND, "store": away})


def test_curves_show_how_it_was() -> None:
    page = StatusPage()
    for calls in (0.0, 50.0, 100.0):
        shown = drawn(page, {**FOUND, "calls_per_s": calls})
    assert "▁▅█" in shown
    assert curve([0, 0]) == "▁▁"


@pytest.fixture
def admin() -> Iterator[ThreadingHTTPServer]:
    with answering({"GET": FOUND}) as server:
        yield server


def status(admin: ThreadingHTTPServer, *words: str) -> list[str]:
    where = f"127.0.0.1:{admin.server_address[1]}"
    return [sys.executable, "-m", "gateway", "status", "--watch", "--every", "0.1", "--admin", where, *words]


def test_a_terminal_has_a_page_that_outlives_the_gateway(admin: ThreadingHTTPServer) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(status(admin), stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT) as process:
        os.close(theirs)
        seen = b""

        def shows(text: bytes) -> bool:
            nonlocal seen
            with suppress(OSError):
                seen += os.read(ours, 65_536)
            return text in seen

        until(lambda: shows(b"tenant-10m"), "the page")
        admin.shutdown()
        admin.server_close()
        until(lambda: shows(b"no answer from the admin listener"), "what is wrong")
        process.send_signal(signal.SIGINT)
        with suppress(OSError):  # a terminal that nobody has open any more
            while os.read(ours, 65_536):
                pass
        assert process.wait(20) == 0
    os.close(ours)


def test_a_terminal_on_which_nothing_can_be_drawn_anew_has_blocks(admin: ThreadingHTTPServer) -> None:
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "dumb"}
    with subprocess.Popen(status(admin), stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, env=env) as process:
        os.close(theirs)
        seen = b""

        def shows_two() -> bool:
            nonlocal seen
            seen += os.read(ours, 65_536)
            return seen.count(b"gateway     gw 1") >= 2

        until(shows_two, "blocks")
        process.kill()
    os.close(ours)
    assert b"\x1b" not in seen


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_who_may_not_look_is_told_once(words: list[str]) -> None:
    """The token is read once, so asking again with a wrong one leads to nothing but `admin.denied` in the log."""
    with answering({"GET": {"code": "TOKEN_REQUIRED", "detail": "The admin token is wrong."}}, status=401) as admin:
        command = status(admin, *words)
        done = subprocess.run(command, capture_output=True, cwd=ROOT, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "answers 401: The admin token is wrong." in done.stderr


def test_so_is_who_looks_at_a_page() -> None:
    """Behind the page, which would hide it."""
    ours, theirs = pty.openpty()
    with (
        answering({"GET": {"code": "TOKEN_REQUIRED", "detail": "The admin token is wrong."}}, status=401) as admin,
        subprocess.Popen(status(admin), stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT) as process,
    ):
        os.close(theirs)
        seen = b""
        with suppress(OSError):  # a terminal that nobody has open any more
            while more := os.read(ours, 65_536):
                seen += more
        assert process.wait(20) == 1
    os.close(ours)
    assert b"The admin token is wrong." in seen.rpartition(b"\x1b[?1049l")[2]


@pytest.mark.parametrize(("words", "begins"), [([], "gateway     gw 1"), (["--json"], '{"name": "gw"')])
def test_a_pipe_has_one_block_after_the_other(admin: ThreadingHTTPServer, words: list[str], begins: str) -> None:
    command = status(admin, *words)
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True, env=ENVIRONMENT) as process:
        assert process.stdout is not None
        found = 0
        for line in process.stdout:
            found += line.startswith(begins)
            if found == 3:
                break
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(20) == 0


STRUCK = """
import signal, sys
from gateway.cli.watching.live import CtrlC

def struck_at(step):
    over, steps = CtrlC(), iter(range(step))
    def strike(frame, what, _):
        if next(steps, None) is None:
            sys.settrace(None)
            frame.f_trace = None
            signal.raise_signal(signal.SIGINT)
        return strike
    sys.settrace(strike)
    over.wait(0)
    traced = sys.gettrace()
    sys.settrace(None)
    assert traced or over.wait(0)
    return not traced

print(sum(map(struck_at, range(100))))
"""


def test_ctrl_c_may_strike_at_any_step_of_the_waiting() -> None:
    """It ended nothing where it struck in the middle of a lock that its handler wanted."""
    done = subprocess.run([sys.executable, "-c", STRUCK], cwd=ROOT, capture_output=True, text=True, timeout=50)
    assert done.stderr == ""
    assert 1 < int(done.stdout) < 100


def test_tail_asks_only_for_what_was_asked_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def events(client: AdminClient, path: str, _begun: Callable[[], None]) -> Iterator[Any]:
        asked.append(path)
        client._fail(1, "no")
        yield

    monkeypatch.setattr(AdminClient, "events", events)
    monkeypatch.setattr(signal, "signal", lambda _number, _heard: None)
    told = CliRunner().invoke(app, ["tail", "--connection", "conn 42", "--limited", "--admin", "127.0.0.1:1"])
    assert (told.exit_code, asked) == (1, ["/-/stream?limited=1&connection=conn+42"])


def test_tail_goes_on_when_its_worker_ends_and_the_gateway_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = [["one"], ["two", "three"]]

    def events(client: AdminClient, _path: str, begun: Callable[[], None]) -> Iterator[Any]:
        if not streams:
            client._fail(3, "nobody answers")
        begun()
        for name in streams.pop(0):
            yield {"event_name": name}
        client._fail(3, "it has ended the stream")

    monkeypatch.setattr(AdminClient, "events", events)
    monkeypatch.setattr(signal, "signal", lambda _number, _heard: None)
    monkeypatch.setattr("gateway.cli.watching.tail.GAP_S", 0)
    monkeypatch.setattr("gateway.cli.watching.tail.LASTED_S", -1)
    told = CliRunner().invoke(app, ["tail", "--json", "--admin", "127.0.0.1:1"])
    assert [json.loads(line)["event_name"] for line in told.stdout.splitlines()] == ["one", "two", "three"]
    assert told.exit_code == 3
    assert told.stderr.splitlines() == [
        *["gateway: it has ended the stream; asking for another"] * 2,
        "gateway: nobody answers",
    ]
