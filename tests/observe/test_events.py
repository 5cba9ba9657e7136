"""Events and libraries' messages: one envelope, one chain, no secrets."""

import logging
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp.http_exceptions
import orjson
import pytest

import gateway
from gateway.core.ask import Ask
from gateway.core.calendars import Unit
from gateway.core.guards import Breaker, Change, Guard, Pausing, Reason, State
from gateway.core.keys import partition
from gateway.core.limits import Algorithm, Charge, Limit, Verdict
from gateway.core.policy import PolicySet
from gateway.observe.log.events import EVENTS
from gateway.observe.log.logger import (
    close_logging,
    configure_logging,
    dropped_lines,
    envelope,
    event,
    event_destination,
    use_policy_version,
)
from gateway.observe.log.schema import ENVELOPE
from gateway.observe.metrics.sink import Metrics
from gateway.observe.reports.breaker_changes import breaker_changed
from gateway.observe.reports.near_limit import NearLimit
from gateway.observe.reports.pauses import upstream_paused
from gateway.settings import Logging, Settings
from tests.core.calendar_cases import by_calendar
from tests.fakes.waiting import eventually
from tests.observe.conftest import finished_call

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines(capfd: pytest.CaptureFixture[str]) -> Lines:
    configure_logging(Logging(pretty=False), envelope(Settings(), worker=2))
    return lambda: [orjson.loads(line) for line in capfd.readouterr().out.splitlines()]


def test_an_event_carries_the_envelope_and_its_fields(lines: Lines) -> None:
    use_policy_version("0123456789ab")
    event("store.degraded", "Store is down", "warning", kind="timeout", detail=None)
    (line,) = lines()
    use_policy_version("")
    assert line.keys() == {*ENVELOPE, "kind"}
    assert line["event_name"] == "store.degraded"
    assert (line["level"], line["message"], line["worker"]) == ("warning", "Store is down", 2)


def test_changes_of_breakers_and_pauses_say_whose_they_are(lines: Lines) -> None:
    told = Metrics(PolicySet("0123456789ab", (), {}, {}, {}))
    breaker = Guard(Breaker("vendor", ("tenant", "connection")), "breaker:vendor:{=acme}:=c1")
    breaker_changed(told, breaker, Change(State.OPEN, Reason.FAILURE_RATE))
    upstream_paused(told, Guard(Pausing("crm", 60_000_000, ("connection",)), "pause:crm:{=c1}"), 1_500_000)
    upstream_paused(told, Guard(Pausing("crm", 60_000_000, ("operation",)), "pause:crm:{=read}"), 1_500_000)
    assert [[line.get(name) for name in ("caller", "tenant", "connection")] for line in lines()] == [
        ["acme, c1", "acme", "c1"],
        ["c1", None, "c1"],
        ["read", None, None],
    ]


@pytest.mark.parametrize("name", ["acme/hubspot", "c" * 65, "Kundé"])
def test_a_name_that_counts_by_its_hash_is_told_as_the_caller_says_it(lines: Lines, name: str) -> None:
    told = Metrics(PolicySet("0123456789ab", (), {}, {}, {}))
    pausing = Pausing("crm", 60_000_000, ("connection",))
    parts = {"tenant": "a b", "connection": name}
    known = Guard(pausing, partition("pause:crm", pausing.key, parts), parts)
    for guard in (known, known._replace(parts={})):
        upstream_paused(told, guard, 1_500_000)
    of_call, of_key = lines()
    assert of_call["connection"] == name
    assert "tenant" not in of_call, "nobody's pause is that of a tenant"
    assert of_key["caller"] == of_call["caller"]
    assert of_key["caller"].startswith("#")
    assert "connection" not in of_key, "nobody knows"


def test_fields_of_the_envelope_may_be_said_by_the_event(lines: Lines) -> None:
    event("worker.started", "Worker started", worker=7, pid=12)
    assert lines()[0]["worker"] == 7


def test_events_below_the_level_are_not_written(lines: Lines) -> None:
    configure_logging(Logging(level="error", pretty=False), {})
    event("worker.started", "Worker started")
    event("worker.failed", "Worker failed", "error")
    assert [line["level"] for line in lines()] == ["error"]


def test_secrets_do_not_reach_a_line(lines: Lines) -> None:
    secret = "hunter2-s3cret"
    try:
        raise ConnectionError(f"cannot reach redis://user:{secret}@host/0")
    except ConnectionError as error:
        event(
            "config.loaded",
            "Settings loaded",
            "error",
            url=f"rediss://:{secret}@host:6380/1",
            authorization=f"Bearer {secret}",
            nested={"api_key": secret, "set_cookie": [secret], "plain": f"https://{secret}@host"},
            webhook_secret=secret,
            error_detail=str(error),
            exc_info=error,
        )
        logging.getLogger("redis").exception("lost redis://user:%s@host", secret)
    text = str(lines())
    assert secret not in text
    assert "ConnectionError" in text


def test_a_traceback_is_one_text_and_bounded(lines: Lines) -> None:
    try:
        raise RuntimeError("x" * 50_000 + "the end")
    except RuntimeError as error:
        event("worker.failed", "Worker failed", "error", exc_info=error)
    (line,) = lines()
    assert line["exception"].endswith("the end")
    assert len(orjson.dumps(line)) <= 16 * 1024


def test_values_json_does_not_know_do_not_lose_the_event(lines: Lines) -> None:
    event("config.loaded", "Settings loaded", path=Path("/x"), raw=b"\xff", odd="\ud800", many={1: {"a"}}, big=1 << 70)
    (line,) = lines()
    assert (line["path"], line["odd"], line["big"]) == ("/x", "\\ud800", float(1 << 70))


def test_libraries_speak_in_the_same_lines(lines: Lines) -> None:
    logging.getLogger("some.library").warning("took %s ms", 12)
    logging.getLogger("some.library").debug("noise")
    logging.getLogger("some.library").error("bad %d", "format")
    warnings.showwarning("it is old", UserWarning, "file.py", 3)  # what `warnings.warn` calls
    first, second, third = lines()
    assert first.keys() == {*ENVELOPE, "logger"} - {"policy_version"}
    assert (first["event_name"], first["logger"], first["message"]) == ("library.message", "some.library", "took 12 ms")
    assert second["message"] == "Unprintable message"
    assert "it is old" in third["message"]


def test_a_malformed_request_is_one_quiet_line(lines: Lines) -> None:
    logger = logging.getLogger("aiohttp.server")
    try:
        raise aiohttp.http_exceptions.BadStatusLine("GET \x1b[2J s3cret")
    except aiohttp.http_exceptions.BadStatusLine:
        logger.exception("Error handling request from %s", "10.0.0.1")
    (line,) = lines()
    assert (line["level"], line["message"]) == ("info", "Malformed request: BadStatusLine")
    assert "exception" not in line


def test_real_errors_of_libraries_keep_their_traceback(lines: Lines) -> None:
    try:
        raise ValueError("ours")
    except ValueError:
        logging.getLogger("asyncio").exception("task failed")
    (line,) = lines()
    assert line["level"] == "error"
    assert line["exception"].endswith("ValueError: ours")


def test_the_standard_library_gets_its_logging_back() -> None:
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    configure_logging(Logging(pretty=False), {})
    configure_logging(Logging(pretty=False), {})
    assert len(root.handlers) == len(before[0]) + 1
    close_logging()
    assert (list(root.handlers), root.level) == before


def test_other_formats_rename_events_too(lines: Lines) -> None:
    configure_logging(Logging(format="ecs", pretty=False), {"instance": "gw-1"})
    event("worker.started", "Worker started", pid=12, restart_in_s=0.5)
    configure_logging(Logging(format="otel", pretty=False), {"instance": "gw-1"})
    event("worker.started", "Worker started", pid=12, restart_in_s=0.5)
    ecs, otel = lines()
    assert (ecs["event.action"], ecs["process.pid"], ecs["gateway.restart_in_s"]) == ("worker.started", 12, 0.5)
    assert (otel["EventName"], otel["Resource"]["service.instance.id"]) == ("worker.started", "gw-1")


def test_people_get_short_lines(capfd: pytest.CaptureFixture[str]) -> None:
    configure_logging(Logging(pretty=True), envelope(Settings(), worker=0))
    try:
        raise ValueError("ours\x1b[2J")
    except ValueError as error:
        event("worker.failed", "Worker failed", "error", pid=12, hint="\x1b[2Jhidden", exc_info=error)
    text = capfd.readouterr().out
    assert "\x1b" not in text  # nobody reads at a terminal
    assert re.match(r"\d\d:\d\d:\d\d\.\d{3} \[error +\] Worker failed hint=\\x1b\[2Jhidden pid=12", text)
    assert "ValueError: ours" in text


def test_lost_lines_are_counted_and_reported(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from gateway.observe.log.writer import writer_for

    configure_logging(Logging(pretty=False), envelope(Settings(), worker=0))
    path = tmp_path / "missing" / "log"
    before = dropped_lines()
    writer = writer_for(str(path))
    writer.write(b"one\n")
    assert dropped_lines() == before + 1
    path.parent.mkdir()
    writer.write(b"two\n")
    line = orjson.loads(path.read_bytes().splitlines()[1])
    assert (line["event_name"], line["count"], line["level"]) == ("log.dropped", 1, "warning")
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("access", "events"), [("stdout", "stdout"), ("stderr", "stderr"), ("off", "stdout"), ("/var/log/x", "stdout")]
)
def test_events_go_where_people_look(access: str, events: str) -> None:
    assert event_destination(Logging(access=access)) == events


def test_before_configuration_events_go_to_stdout_and_the_last_ones_are_not_lost() -> None:
    program = (
        "import asyncio\n"
        "from gateway.observe.log.logger import configure_logging, envelope, event\n"
        "from gateway.settings import Settings\n"
        "event('gateway.started', 'Worker started')\n"
        "async def main():\n"
        "    configure_logging(Settings().logging, envelope(Settings(), worker=0))\n"
        "    event('gateway.stopped', 'Worker stopped')\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert [orjson.loads(line)["event_name"] for line in done.stdout.splitlines()] == [
        "gateway.started",
        "gateway.stopped",
    ]
    assert done.stderr == b""


async def test_events_do_not_wait_for_the_timer(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.observe.log.writer.FLUSH_S", 3600)
    event("gateway.ready", "Worker serves calls")
    found = await eventually(lines)
    assert found[0]["event_name"] == "gateway.ready"


def test_a_caller_near_a_limit_is_named_once_a_window(lines: Lines) -> None:
    near = NearLimit()
    call = finished_call()
    near.emit(call)
    near.emit(call)
    first = lines()
    assert [(line["limit_name"], line["tenant"], line["limit_remaining"]) for line in first] == [
        ("tenant-10m", "acme", 7)
    ]
    call.ended += 599.0
    near.emit(call)
    assert lines() == []
    call.ended += 1.0
    near.emit(call)
    assert len(lines()) == 1


def test_who_is_near_a_limit_by_the_calendar_is_quiet_until_it_begins_anew(lines: Lines) -> None:
    near, call = NearLimit(), finished_call()
    assert call.decision is not None
    call.ask = Ask([Charge(by_calendar(Unit.MONTH), "k", 1)])
    call.decision = call.decision._replace(verdicts=(Verdict(True, 0, 7_000_000, 7_000_000, 0),))
    for wait_s, reported in ((0.0, 1), (6.0, 0), (1.0, 1)):
        call.ended += wait_s
        near.emit(call)
        assert len(lines()) == reported


@pytest.mark.parametrize(("quota", "remaining", "told"), [(1, 0, 0), (4, 0, 0), (5, 0, 1), (5, 1, 1), (5, 2, 0)])
def test_nobody_comes_near_a_limit_that_goes_from_free_to_used_up_at_once(
    lines: Lines, quota: int, remaining: int, told: int
) -> None:
    call = finished_call()
    assert call.decision is not None
    call.ask = Ask([Charge(Limit("parallel", Algorithm.CONCURRENCY, quota, 60_000_000, ("tenant",)), "k", 1)])
    call.decision = call.decision._replace(verdicts=(Verdict(True, remaining, 7_000_000, 1_000_000, 0),))
    NearLimit().emit(call)
    assert len(lines()) == told


@pytest.mark.parametrize("hidden", ["connection", "Tenant", "account", "client_ip"])
def test_what_redact_names_is_in_no_event(capfd: pytest.CaptureFixture[str], hidden: str) -> None:
    configure_logging(Logging(pretty=False, redact=(hidden,)), envelope(Settings(), worker=2))
    known = {"connection": "secret-1", "tenant": "secret-2", "account": "secret-3", "client_ip": "192.0.2.1"}
    event("connection.offline", "Connection is offline", "warning", **known, caller="secret-1, secret-2")
    event("upstream.paused", "Upstream wants no calls yet", caller="secret-1")
    first, second = (orjson.loads(line) for line in capfd.readouterr().out.splitlines())
    assert first.keys() & {*known, "caller"} == known.keys() - {hidden.lower()}
    assert "caller" not in second


def test_a_refused_call_is_not_near(lines: Lines) -> None:
    call = finished_call()
    assert call.decision is not None
    call.decision = call.decision._replace(admitted=False)
    NearLimit().emit(call)
    assert lines() == []


def test_every_event_that_is_reported_is_in_the_list() -> None:
    """Names in the source, as literals: an event nobody documented would be a surprise for those who read the logs."""
    package = Path(gateway.__file__).parent
    reported = set()
    for path in package.rglob("*.py"):
        reported |= set(re.findall(r"""\b(?:event|on_event)\(\s*["']([a-z_.]+)["']""", path.read_text()))
    assert reported <= EVENTS.keys()
    assert reported >= {"admin.mutation", "limit.near", "worker.exited"}
