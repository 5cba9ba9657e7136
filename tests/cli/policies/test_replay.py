"""`gateway replay`: what was decided is decided again, and whatever stands in a log is told and survived."""

import contextlib
import errno
import gzip
import http.client
import json
import os
import random
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.observe.log.formats import renaming
from gateway.policy import load
from gateway.replay import lines
from gateway.replay.row import Reader
from tests.cli.command import gateway
from tests.cli.conftest import Start, alive
from tests.fakes.ports import free_port
from tests.fakes.waiting import until

POLICY = """
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: reject}
  connection: {from: header, name: X-Connection-Id, on_missing: skip}
limits:
  by-tenant: {algorithm: rolling_window, limit: 20, window: 10m, key: [tenant], overrides: [{match: {tenant: big}, limit: 90}]}
  by-connection: {algorithm: token_bucket, rate: 1, per: 10m, burst: 12, key: [connection], shadow: {burst: 5}}
  by-day: {algorithm: fixed_window, limit: 60, window: 365d, key: []}
upstreams: {up: {url: "builtin:echo"}}
routes:
  - name: api
    match: {path_prefix: /api/, header: {X-Api: "*"}}
    upstream: up
    limits: [by-tenant, by-connection, by-day]
    operations: [{name: batch, match: {method: POST}, cost: {by-tenant: 3}}]
"""
START = datetime(2026, 11, 21, 5, tzinfo=UTC)


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


def line(at_s: float, tenant: str = "a", decision: str = "allowed", **more: Any) -> str:
    end = (START + timedelta(seconds=at_s)).isoformat(timespec="microseconds").replace("+00:00", "Z")
    said = {"timestamp": end, "event_name": "http.access", "method": "GET", "path": "/api/x", "status": 200}
    said |= {"duration_ms": 5.0, "decision": decision, "route": "api", "tenant": tenant, "http_host": "gw"}
    return json.dumps(said | more)


def replayed(log: Path | str, policy: Path, *words: object, stdin: bytes = b"") -> dict[str, Any]:
    done = gateway("replay", log, "-p", policy, "--json", "--readers", 0, *words, stdin=stdin)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.mark.parametrize("format_", ["ecs", "otel"])
def test_logs_in_other_formats_are_read_as_well(policy: Path, tmp_path: Path, format_: str) -> None:
    other, log = renaming(format_), tmp_path / "access.jsonl"
    assert other is not None
    log.write_text("".join(json.dumps(other(json.loads(line(number)))) + "\n" for number in range(30)))
    found = replayed(log, policy)
    assert (found["calls"], found["newly_refused"], found["unreadable"]) == (30, 10, 0)
    explained = gateway("explain", "-p", policy, "--json", stdin=log.read_text())
    assert json.loads(explained.stdout.splitlines()[0])["keys"][0]["value"] == "a"


@pytest.mark.parametrize("format_", ["native", "ecs", "otel"])
def test_lines_that_are_missing_are_told_of(policy: Path, tmp_path: Path, format_: str) -> None:
    """By a sample, or because the disk was full: fewer calls fit where all of them would not have."""
    log, other = tmp_path / "access.jsonl", renaming(format_)
    dropped = {"timestamp": "2026-11-21T05:30:00.123456Z", "event_name": "log.dropped", "count": 1_000}
    texts = [line(number, sampled_out=9) for number in range(3)] + [line(4, sampled_out="x"), json.dumps(dropped)]
    log.write_text("".join(json.dumps(other(json.loads(text)) if other else json.loads(text)) + "\n" for text in texts))
    found = replayed(log, policy)
    assert (found["calls"], found["missing"], found["other_lines"], found["unreadable"]) == (4, 1_027, 1, 0)
    (note,) = found["notes"]
    assert note.startswith("1,027 lines are missing from the log")
    assert note in gateway("replay", log, "-p", policy).stdout


def test_a_real_run_is_decided_again_as_it_was(start: Start, policy: Path, tmp_path: Path) -> None:
    """Windows are long and calls come one after the other: nothing depends on when exactly the store was asked."""
    config, log, port = tmp_path / "gateway.yaml", tmp_path / "access.jsonl", free_port()
    config.write_text(
        f"version: 1\npolicies: policy.yaml\nadmin: off\nstore: {{url: local}}\nlogging: {{access: {log}}}\n"
    )
    process = start("-m", "gateway", "run", "-q", "-c", str(config), "--listen", f"127.0.0.1:{port}")
    process.wait_for("gateway.ready")
    callers = ["a", "b", "big", "", "a"]
    for number in range(150):
        tenant = callers[number % 5]
        fields = {"X-Api": "1", "X-Tenant-Id": tenant, "X-Connection-Id": f"c{number % 3}"}
        caller = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        caller.request("POST" if number % 7 == 0 else "GET", "/other" if number % 50 == 9 else "/api/x", headers=fields)
        caller.getresponse().read()
        caller.close()
    process.popen.send_signal(signal.SIGINT)
    process.ends_well()
    found = replayed(log, policy)
    recorded = [json.loads(text) for text in log.read_text().splitlines()]
    refused = [one for one in recorded if one["decision"] == "limited" or one.get("problem_code")]
    assert found["calls"] == len(recorded) == 150
    assert found["refused_then"] == found["refused_now"] == len(refused) > 40
    assert (found["newly_refused"], found["newly_admitted"], found["unreadable"], found["late"]) == (0, 0, 0, 0)
    shadowed = sum(
        entry["decision"] == "shadow_limited"
        for one in recorded if one["decision"] != "limited"
        for entry in one.get("limits", ())
    )  # fmt: skip
    (variant,) = [one for one in found["limits"] if one["name"] == "by-connection.shadow"]
    assert variant["refused_now"] == variant["refused_then"] == shadowed > 0
    tight = tmp_path / "tight.yaml"
    tight.write_text(POLICY.replace("limit: 20, window", "limit: 15, window"))
    other = replayed(log, tight)
    assert other["newly_refused"] > 0
    assert {one["name"]: one["newly_refused"] > 0 for one in other["limits"]}["by-tenant"]


def test_every_limit_that_refused_then_is_counted_and_those_that_only_watched_or_had_room_are_not(
    policy: Path, tmp_path: Path
) -> None:
    """So a log that is played through its own policy says the same twice."""
    found_then = {"by-day": "limited", "by-tenant": "limited", "by-connection": "allowed", "seen": "shadow_limited"}
    limits = [
        {"name": name, "mode": "shadow" if name == "seen" else "enforce", "decision": decision}
        for name, decision in found_then.items()
    ]
    log = tmp_path / "log"
    log.write_text(line(1, "a", "limited", limit_fired="by-tenant", limits=limits))
    found = replayed(log, policy)
    assert {one["name"]: one["refused_then"] for one in found["limits"]} == {"by-tenant": 1, "by-day": 1}


def test_what_failed_behind_the_limits_is_told_of_none(policy: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(line(1, "a", problem_code="UPSTREAM_TIMEOUT", attempts=[{"n": 1}, {"n": 2, "wait_ms": 5.0}]))
    assert replayed(log, policy)["limits"] == []


@pytest.mark.parametrize(("mode", "then"), [("shadow", 30), ("enforce", 0)])
def test_what_only_watched_then_is_counted_where_it_only_watches_now(
    policy: Path, tmp_path: Path, mode: str, then: int
) -> None:
    watched = [{"name": "by-tenant", "mode": "shadow", "decision": "shadow_limited"}]
    log = tmp_path / "log"
    log.write_text(
        "\n".join(line(at, "a", "shadow_limited", limit_fired="by-tenant", limits=watched) for at in range(30))
    )
    policy.write_text(POLICY.replace("limit: 20, window: 10m", f"limit: 20, window: 10m, mode: {mode}"))
    (found,) = replayed(log, policy)["limits"]
    assert (found["refused_then"], found["refused_now"], found["newly_refused"]) == (then, 10, 0 if then else 10)


def test_it_says_what_changes_and_for_whom(policy: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    texts = [line(number, "a") for number in range(25)] + [
        line(30 + number, "b", "limited", limit_fired="old") for number in range(3)
    ]
    log.write_text("\n".join(texts))
    found = replayed(log, policy)
    assert (found["newly_refused"], found["newly_admitted"]) == (5, 3)
    assert found["tenants"] == [
        {"tenant": "a", "refused_then": 0, "refused_now": 5, "newly_refused": 5, "newly_admitted": 0},
        {"tenant": "b", "refused_then": 3, "refused_now": 0, "newly_refused": 0, "newly_admitted": 3},
    ]
    assert found["limits"] == [
        {"name": "by-tenant", "refused_then": 0, "refused_now": 5, "newly_refused": 5, "newly_admitted": 0},
        {"name": "old", "refused_then": 3, "refused_now": 0, "newly_refused": 0, "newly_admitted": 3},
    ]
    assert (found["from"], found["to"]) == ("2026-11-21T04:59:59.995Z", "2026-11-21T05:00:31.995Z")
    text = gateway("replay", log, "-p", policy, "--readers", 0, "--top", 1).stdout
    assert "28 calls through policy" in text
    assert "and 1 tenants more" in text
    assert "for example at 2026-11-21T05:00:19.995Z: tenant a, by by-tenant" in text
    assert gateway("replay", log, "-p", policy, "--readers", 0, "--exit-code").returncode == 1


def test_what_a_candidate_does_not_route_or_know_is_newly_refused(policy: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    gone = line(2, "a", path="/gone")
    nobody = line(3, "")
    again = line(4, "", "unlimited", problem_code="RATE_LIMIT_KEY_MISSING", status=400)
    log.write_text("\n".join([line(1), gone, nobody, again]))
    found = replayed(log, policy)
    assert {one["name"]: (one["refused_then"], one["newly_refused"]) for one in found["limits"]} == {
        "NO_ROUTE": (0, 1),
        "RATE_LIMIT_KEY_MISSING": (1, 1),
    }


def test_calls_are_played_when_they_began_not_when_they_ended(tmp_path: Path, policy: Path) -> None:
    """One call at a time: the long one began first, so the short one that ended first was in its way."""
    policy.write_text(
        POLICY.replace("algorithm: fixed_window, limit: 60, window: 365d", "algorithm: concurrency, limit: 1")
    )
    log = tmp_path / "log"
    log.write_text(line(1, "b") + "\n" + line(2, "a", duration_ms=1_900.0) + "\n" + line(3, "c"))
    (tenant,) = replayed(log, policy)["tenants"]
    assert (tenant["tenant"], tenant["newly_refused"]) == ("b", 1)


def test_real_costs_and_further_attempts_are_charged(tmp_path: Path, policy: Path) -> None:
    policy.write_text(
        POLICY.replace("key: [tenant], overrides", "charge: per_attempt, key: [tenant], overrides").replace(
            "cost: {by-tenant: 3}", "cost: {by-day: {from: response_header, name: X-Cost, reserve: 1}}"
        )
    )
    log = tmp_path / "log"
    attempts = [{"n": n, "upstream_ms": 1.0, **({"wait_ms": 1.0} if n > 1 else {})} for n in range(1, 20)]
    attempts.append({"n": 20, "wait_ms": 1.0, "error_class": "busy"})  # there was no place for it: it was not made
    attempts[1:1] = [{"error_class": "reset", "upstream_ms": 1.0}]  # a kept socket was closed: for nothing
    costly = {"method": "POST", "cost_settled": True, "limits": [{"name": "by-day", "cost": 60}]}
    texts = [
        line(1, "a", attempts=attempts, duration_ms=40.0),
        line(2, "a"),
        line(3, "a"),
        line(4, "b", **costly),
        line(5, "b"),
    ]
    log.write_text("\n".join(texts))
    found = replayed(log, policy)
    assert {one["name"]: one["newly_refused"] for one in found["limits"]} == {"by-tenant": 1, "by-day": 1}


@pytest.mark.parametrize(
    "junk",
    [b"{", b"[]", b'"x"', b"1", b"\xff\xfe\x00", b'{"event_name":"http.access"}', b"[" * 50_000, b'{"event_name":"http.access","decision":"allowed","method":1,"path":2,"duration_ms":1,"timestamp":"2026-11-21T05:00:00Z"}',
     line(1).replace("5.0", "1e308").encode(), line(1).replace("2026", "20x6").encode(), line(1).replace('"a"', "[]").encode()],
)  # fmt: skip
def test_lines_that_cannot_be_read_are_counted_and_no_more(policy: Path, tmp_path: Path, junk: bytes) -> None:
    log = tmp_path / "log"
    log.write_bytes(line(1).encode() + b"\n" + junk + b"\n\n" + line(2).encode() + b"\n")
    found = replayed(log, policy)
    assert (found["calls"], found["unreadable"]) == (2, 1)


def test_other_lines_and_calls_that_limits_never_saw_are_counted_apart(policy: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    others = ['{"event_name": "gateway.ready"}', line(1, decision="held"), line(2, problem_code="UNAUTHENTICATED")]
    others.append(line(3, decision="unlimited", response_source="cache", cache="hit"))
    log.write_text("\n".join([*others, line(3)]))
    found = replayed(log, policy)
    assert (found["calls"], found["other_lines"], found["never_asked"], found["unreadable"]) == (1, 1, 3, 0)


def test_standard_input_and_gzip(policy: Path, tmp_path: Path) -> None:
    data = gzip.compress("\n".join(line(number) for number in range(30)).encode())
    assert replayed("-", policy, stdin=data)["newly_refused"] == 10
    log = tmp_path / "log.gz"
    log.write_bytes(data)
    assert replayed(log, policy)["newly_refused"] == 10
    twice = gateway("replay", "-", "-", "-p", policy)
    assert (twice.returncode, "standard input (-) can be read once" in twice.stderr) == (2, True)


def test_a_damaged_end_is_told_and_the_rest_is_used(policy: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.gz"
    data = gzip.compress("\n".join(line(number) for number in range(30)).encode())
    log.write_bytes(data[:-12])
    done = gateway("replay", log, "-p", policy, "--json", "--readers", 0)
    assert done.returncode == 1
    assert "the gzip data is damaged" in done.stderr
    assert "calls" in json.loads(done.stdout)


def test_a_file_that_is_no_log_is_no_log_without_calls(policy: Path, tmp_path: Path) -> None:
    """Else a check in CI that names the wrong file would always be content."""
    log, other = tmp_path / "log", tmp_path / "other"
    log.write_text(line(1) + "\n")
    other.write_text("2026-11-21 05:00:00 INFO started\n" * 3)
    done = gateway("replay", log, other, "-p", policy, "--exit-code", "--json")
    assert (done.returncode, done.stderr) == (1, f"gateway: {other}: nothing in it is a line of the gateway's log\n")
    assert (json.loads(done.stdout)["calls"], json.loads(done.stdout)["unreadable"]) == (1, 3)
    assert gateway("replay", os.devnull, "-p", policy, "--exit-code").returncode == 0, "there were no calls"


def test_a_log_that_is_not_there(policy: Path, tmp_path: Path) -> None:
    done = gateway("replay", tmp_path / "no.log", "-p", policy, "--readers", 0)
    assert (done.returncode, done.stdout) == (1, "")
    assert "cannot read: No such file or directory" in done.stderr


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 12), max_size=30), st.booleans(), st.integers(1, 9))
def test_pieces_of_a_file_have_each_line_once(
    tmp_path: Path, lengths: list[int], ended: bool, piece_bytes: int
) -> None:
    """Wherever it is cut: readers in several processes find their own ends."""
    every = [b"%d" % (number % 10) * length for number, length in enumerate(lengths)]
    log = tmp_path / "log"
    log.write_bytes(b"\n".join(every) + (b"\n" if ended else b""))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "PIECE_BYTES", piece_bytes)
        found = [piece.fetched() for piece in lines.pieces(log)]
    assert [one for piece in found for one in piece.text.split(b"\n") if one] == [one for one in every if one]
    assert sum(piece.cut for piece in found) == 0


def test_a_line_without_end_is_no_line(policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "PIECE_BYTES", 1_000)
    monkeypatch.setattr(lines, "MOST_LINE_BYTES", 2_000)
    log = tmp_path / "log"
    log.write_text(line(1) + "\n" + "x" * 50_000 + "\n" + line(2) + "\n" + "y" * 9_000)
    found = replayed(log, policy)
    assert (found["calls"], found["unreadable"]) == (2, 2)


def test_logs_of_several_gateways_are_one_story(policy: Path, tmp_path: Path) -> None:
    paths = [tmp_path / "1", tmp_path / "2"]
    for which, path in enumerate(paths):
        path.write_text("\n".join(line(2 * number + which) for number in range(15)))
    found = replayed(paths[0], policy, paths[1])
    assert (found["calls"], found["newly_refused"], found["late"]) == (30, 10, 0)
    assert replayed(paths[1], policy)["late"] == 0


def test_what_comes_out_of_order_is_counted(policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.replay.play.WINDOW", 1)
    monkeypatch.setattr(lines, "PIECE_BYTES", 200)
    log = tmp_path / "log"
    log.write_text("\n".join([line(9), line(10), line(1)]))
    assert replayed(log, policy)["late"] == 1


def test_what_the_log_does_not_tell_is_noted(policy: Path, tmp_path: Path) -> None:
    text = POLICY.replace("\nlimits:", "\n  plan: {from: header, name: X-Plan, on_missing: anonymous}\nlimits:")
    policy.write_text(text.replace("365d, key: []", "365d, key: [plan]"))
    log = tmp_path / "log"
    log.write_text(line(1))
    assert replayed(log, policy)["notes"] == ["the log does not tell the key part plan: what counts by it is left out"]


UNTOLD = """
keys:
  org: {from: jwt, claim: org, on_missing: reject}
  plan: {from: header, name: X-Plan, on_missing: anonymous}
  connection: {from: header, name: X-Connection-Id, on_missing: skip}
limits:
  by-org: {algorithm: rolling_window, limit: 2, window: 10m, key: [org]}
  by-plan: {algorithm: rolling_window, limit: 2, window: 10m, key: [plan]}
upstreams: {up: {url: "http://127.0.0.1:1", credentials: required}}
credentials:
  one: {upstream: up, match: {org: acme}, type: header, name: X-Key, value: "env:PATH"}
authentication:
  partners: {type: api_keys, keys: [{hash: "sha256:%s", claims: {org: acme}}]}
routes:
  - name: api
    match: {path_prefix: /api/}
    upstream: up
    authenticate: [partners]
    limits: [by-org, by-plan]
    modules: {sandbox: {when: {key: connection, prefix: sbx_}, fixtures: fixtures.yaml}}
""" % ("0" * 64)


def test_nobody_is_refused_for_what_the_log_does_not_tell(policy: Path, tmp_path: Path) -> None:
    """Then each of these was admitted, or refused for a reason that is none of any limit's."""
    (tmp_path / "fixtures.yaml").write_text("version: 1\nanswers: [{match: {path: /x}, body: hi}]\n")
    policy.write_text(UNTOLD)
    log = tmp_path / "log"
    lacking = line(9, "", "unlimited", problem_code="RATE_LIMIT_KEY_MISSING", status=400)
    log.write_text("\n".join([*(line(number) for number in range(5)), lacking]))
    found = replayed(log, policy)
    assert (found["calls"], found["refused_now"], found["newly_admitted"], found["never_asked"]) == (5, 0, 0, 1)


def test_who_is_in_the_sandbox_needs_no_credentials(policy: Path, tmp_path: Path) -> None:
    (tmp_path / "fixtures.yaml").write_text("version: 1\nanswers: [{match: {path: /x}, body: hi}]\n")
    policy.write_text(UNTOLD.replace("match: {org: acme}, type", "match: {connection: c}, type"))
    log = tmp_path / "log"
    log.write_text("\n".join([line(1, connection="sbx_1"), line(2, connection="c"), line(3, connection="other")]))
    found = replayed(log, policy)
    assert {one["name"]: one["newly_refused"] for one in found["limits"]} == {"CREDENTIALS_MISSING": 1}


def test_webhooks_that_came_in_are_no_calls_of_a_policy(policy: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(line(1) + "\n" + line(2, "", "unlimited", route="intake:crm", path="/hooks/crm", method="POST"))
    found = replayed(log, policy)
    assert (found["calls"], found["other_lines"], found["newly_refused"]) == (1, 1, 0)
    explained = gateway("explain", "-", "-p", policy, "--json", stdin=log.read_text())
    assert len(explained.stdout.splitlines()) == 1


def test_readers_in_other_processes_come_to_the_same(
    policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "PIECE_BYTES", 2_000)
    log = tmp_path / "log"
    log.write_text("\n".join(line(number, f"t{number % 3}") for number in range(100)))
    alone = gateway("replay", log, "-p", policy, "--json", "--readers", 0)
    assert gateway("replay", log, "-p", policy, "--json", "--readers", 2) == alone
    assert json.loads(alone.stdout)["newly_refused"] == 40


def test_a_host_without_shared_memory_reads_in_the_process_that_decides(
    policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where `/dev/shm` is missing, or nobody may write to it: there are no locks between processes."""

    def no_lock(*_args: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("multiprocessing.synchronize._multiprocessing.SemLock", no_lock)
    log = tmp_path / "log"
    log.write_text("\n".join(line(number) for number in range(30)))
    assert json.loads(gateway("replay", log, "-p", policy, "--json", "--readers", 2).stdout)["newly_refused"] == 10


@pytest.mark.parametrize("name", ["SIGINT", "SIGKILL"])
def test_it_ends_when_it_or_a_reader_is_killed(policy: Path, tmp_path: Path, start: Start, name: str) -> None:
    log = tmp_path / "pipe"
    os.mkfifo(log)
    process = start("-m", "gateway", "replay", str(log), "-p", str(policy), "--readers", "1")
    with log.open("w") as writer:  # as soon as it reads
        text = "\n".join(line(number) for number in range(30_000))
        writer.write(text)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        (reader, *_) = until(lambda: children.read_text().split(), "a reader")
        os.kill(process.pid if name == "SIGINT" else int(reader), getattr(signal, name))
        with contextlib.suppress(BrokenPipeError):
            writer.write(text)
            writer.close()
    assert process.wait() == (130 if name == "SIGINT" else 1)
    assert not alive(int(reader))
    assert "Traceback" not in process.stderr()
    assert name == "SIGINT" or "a reading process was killed" in process.stderr()


def test_many_tenants_are_bounded(policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.replay.tally.MOST_TENANTS", 3)
    monkeypatch.setattr("gateway.replay.play.MOST_ASKS", 2)
    monkeypatch.setattr("gateway.replay.row.MOST_KNOWN", 2)
    log = tmp_path / "log"
    log.write_text("\n".join(line(number, f"t{number}", "limited", limit_fired="x") for number in range(9)))
    found = replayed(log, policy)
    assert found["tenants_affected"] == 4
    assert {one["tenant"]: one["newly_admitted"] for one in found["tenants"]}["(others)"] == 6


MEMORY = """
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: reject}
  account: {from: path, name: account, on_missing: skip}
  connection: {from: query, name: c, on_missing: skip}
  address: {from: client_ip, on_missing: skip}
limits:
  t: {algorithm: rolling_window, limit: 5, window: 1m, key: [tenant]}
  a: {algorithm: rolling_window, limit: 5, window: 1m, key: [account]}
  c: {algorithm: rolling_window, limit: 5, window: 1m, key: [connection]}
  ip: {algorithm: rolling_window, limit: 5, window: 1m, key: [address]}
upstreams: {u: {url: "builtin:echo"}}
routes:
  - {name: header, match: {path_prefix: /a/, header: {X-Big: "yes"}}, upstream: u, limits: [t]}
  - name: a
    match: {path_prefix: /a/}
    upstream: u
    limits: [t]
    operations:
      - {name: write, match: {method: POST}}
      - {name: odd, match: {path: "/a/*/odd"}}
  - {name: path, match: {path: "/p/{account}/**"}, upstream: u, limits: [a]}
  - {name: query, match: {path_prefix: /q/}, upstream: u, limits: [c]}
  - {name: ip, match: {path_prefix: /ip/, host: h}, upstream: u, limits: [ip]}
"""


@pytest.mark.parametrize("most", [3, 50_000])
def test_what_is_remembered_of_lines_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr("gateway.replay.row.MOST_KNOWN", most)
    (tmp_path / "p.yaml").write_text("version: 1" + MEMORY)
    policies, dice = load([tmp_path / "p.yaml"]), random.Random(7)
    said: dict[str, list[str | None]] = {
        "method": ["GET", "POST"],
        "path": ["/a/1", "/a/2/odd", "/p/x/1", "/p/y/1", "/q/1", "/q/2", "/ip/1", "/nowhere", "/p/x/../y"],
        "query": [None, "c=1", "c=2", "c=1&c=2"],
        "http_host": ["h", "other"],
        "route": [None, "header", "a", "ip"],
        "operation": [None, "odd"],
        "tenant": [None, "", "acme", "globex"],
        "account": [None, "x"],
        "connection": [None, "1"],
        "client_ip": [None, "10.0.0.1", "10.0.0.2"],
    }
    whole = Reader(policies)
    for _ in range(2_000):
        chosen = {name: dice.choice(values) for name, values in said.items()}
        text = json.dumps({**json.loads(line(1)), "tenant": None, "route": None, **chosen})
        assert whole.rows(text.encode()).kinds == Reader(policies).rows(text.encode()).kinds, text
