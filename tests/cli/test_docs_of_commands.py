"""docs/cli.md: every command is told of, and every example works."""

import contextlib
import json
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import typer

from gateway.cli import app
from gateway.cli.watching.healthcheck import reason
from tests.cli.command import Done, gateway
from tests.cli.conftest import Process, Start
from tests.fakes.ports import free_port
from tests.fakes.waiting import until

TEXT = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
EXAMPLES = re.findall(r"^\$ gateway (.*)$", TEXT, re.MULTILINE)
BREAKERS = "\nbreakers:\n  fragile: {key: [connection], consecutive_failures: 3}\n"


def example(text: str) -> Done:
    """Run a line of the document, with its redirections, where the test is."""
    command = text.partition("#")[0].strip()
    command, _, source = command.partition(" < ")
    command, _, target = command.partition(" > ")
    done = gateway(*shlex.split(command), stdin=Path(source).read_text() if source else "")
    if target:
        Path(target).write_text(done.stdout)
    return done


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with what the examples speak of."""
    monkeypatch.chdir(tmp_path)
    gateway("init", "demo")
    new = Path("new-policies")
    new.mkdir()
    text = Path("demo/policies/policies.yaml").read_text()
    text = text.replace("# How much.", BREAKERS + "# How much.").replace(
        "    retry: standard", "    retry: standard\n    breaker: fragile"
    )
    Path("demo/policies/policies.yaml").write_text(text)
    (new / "policies.yaml").write_text(text.replace("limit: 500", "limit: 400"))
    line = {"event_name": "http.access", "method": "GET", "path": "/x", "tenant": "acme", "decision": "allowed"}
    line |= {"timestamp": "2026-11-21T05:00:00.000000Z", "duration_ms": 1.0, "status": 200}
    Path("access.jsonl").write_text(json.dumps(line) + "\n")
    return tmp_path


@pytest.fixture
def running(place: Path, start_gateway: Start, monkeypatch: pytest.MonkeyPatch) -> Process:
    process = start_gateway("--store", "local", cwd=place / "demo")
    monkeypatch.setenv("GATEWAY_ADMIN", f"127.0.0.1:{process.admin_port}")
    return process


def test_every_example_works(running: Process) -> None:
    assert running.get("/hello", {"X-Tenant-Id": "acme", "X-Connection-Id": "c1"}).status == 200
    assert len(EXAMPLES) > 20
    Path("demo").rename("served")
    for text in EXAMPLES:
        done = example(text)
        wanted = 1 if "# exit code 1" in text else 0
        assert done.returncode == wanted, f"{text}\n{done.stdout}{done.stderr}"
        assert done.stdout, text
        if text.startswith("init "):  # the examples speak of what it has just written; here with a breaker
            Path("demo/policies/policies.yaml").write_text(Path("served/policies/policies.yaml").read_text())


def test_every_command_is_told_of() -> None:
    command = typer.main.get_command(app)
    names = list(command.commands)  # type: ignore[attr-defined]
    assert [name for name in names if not re.search(rf"gateway {name}\b", TEXT)] == []


def test_what_is_counted_can_be_seen_and_changed(running: Process) -> None:
    caller = {"X-Tenant-Id": "acme", "X-Connection-Id": "c 1/ü"}
    for _ in range(3):
        assert (
            running.get("/hello", {name: value.encode().decode("latin-1") for name, value in caller.items()}).status
            == 200
        )
    assert json.loads(gateway("limits", "show", "tenant-10m", "acme", "--json").stdout)["used"] == 3
    assert json.loads(
        gateway("limits", "grant", "tenant-10m", "acme", "--limit", "7", "--reason", "x", "--json").stdout
    )
    assert json.loads(gateway("limits", "show", "tenant-10m", "acme", "--json").stdout)["limit"] == 7
    live = json.loads(gateway("explain", "GET /a", "-H", "X-Tenant-Id: acme", "--live", "--json").stdout)
    assert live["decision"] == {"admitted": True}
    assert live["limits"][0]["remaining"] == 4
    assert gateway("limits", "reset", "tenant-10m", "acme").stdout == "reset\n"
    assert gateway("limits", "reset", "tenant-10m", "acme").stdout == "there was nothing to reset\n"
    opened = gateway("breaker", "open", "fragile", "c1", "--ttl", "5m")
    assert "open" in opened.stdout
    refused = gateway("explain", "GET /a", "-H", "X-Connection-Id: c1", "--live")
    assert refused.returncode == 1
    assert "refused by breaker fragile; again in" in refused.stdout
    given_back = gateway("breaker", "auto", "fragile", "c1").stdout
    assert "is let through as a probe" in given_back
    assert "forced" not in given_back
    probing = gateway("explain", "GET /a", "-H", "X-Connection-Id: c1", "--live")
    assert probing.returncode == 0
    assert "fragile for c1; open, the call is a probe" in probing.stdout
    assert "fragile for c2; closed  #" in gateway("explain", "GET /a", "-H", "X-Connection-Id: c2", "--live").stdout
    shown = gateway("status").stdout
    assert "gateway     gateway" in shown
    assert "tenant-10m" in gateway("limits", "show").stdout


def test_what_the_gateway_refuses_is_told_in_one_line(running: Process) -> None:
    for words in (
        ["limits", "show", "no-such"],
        ["limits", "show", "tenant-10m", "acme", "c1"],
        ["breaker", "show", "no-such"],
        ["breaker", "open", "fragile", "c", "--ttl", "x"],
        ["connections", "nobody"],
    ):
        done = gateway(*words)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("gateway: the gateway at 127.0.0.1:")
        assert done.stderr.count("\n") == 1
    unknown = gateway("limits", "show", "no-such").stderr
    assert unknown.endswith("answers 404: There is no limit 'no-such'. `gateway limits show` lists them.\n")
    wrong = gateway("limits", "reset", "tenant-10m").stderr
    assert wrong.endswith("answers 400: Limit tenant-10m counts by tenant: give its value.\n")


def test_what_there_is_not_is_said_in_a_sentence(running: Process) -> None:
    for words, sentence in (
        (["limits", "granted"], "nobody has another number"),
        (["connections"], "no call has named a connection lately"),
        (["connections", "--state", "offline"], "no connection is in such a state"),
        (["webhooks", "list"], "the settings have no receivers of webhooks"),
    ):
        assert gateway(*words).stdout == f"{sentence}\n"
    assert re.fullmatch(r"nobody was refused in the last \d+ s\n", gateway("top").stdout)
    assert gateway("breaker", "show").stdout.endswith("\n\nevery shared breaker is closed\n")


def test_one_of_a_name_is_shown_with_its_numbers(running: Process) -> None:
    shown = gateway("limits", "show", "tenant-10m").stdout
    assert "\namount             500 per 10m\n" in shown
    assert shown.endswith("\none caller: gateway limits show tenant-10m TENANT\n")
    assert json.loads(gateway("limits", "show", "tenant-10m", "--json").stdout)["name"] == "tenant-10m"
    gateway("breaker", "open", "fragile", "c1", "--ttl", "5m")
    shown = gateway("breaker", "show", "fragile").stdout
    assert re.search(r"^consecutive_failures +3$", shown, re.MULTILINE)
    assert re.search(r"^fragile +c1 +open +forced +\d+$", shown, re.MULTILINE)
    found = json.loads(gateway("breaker", "show", "--json").stdout)
    assert [one["key"] for one in found["not_closed"]] == ["c1"]


def test_what_operators_say_is_on_record(running: Process) -> None:
    gateway("breaker", "open", "fragile", "c1", "--ttl", "5m", "--reason", "maintenance")
    gateway("limits", "reset", "tenant-10m", "acme", "--reason", "by mistake & more")
    gateway("drain", "--reason", "a new version")
    until(lambda: len(running.events("admin.mutation")) == 3, "the lines to be written")
    found = [(line["action"], line["reason"]) for line in running.events("admin.mutation")]
    assert found == [
        ("breaker.force", "maintenance"),
        ("limit.reset", "by mistake & more"),
        ("drain.begin", "a new version"),
    ]


def test_what_is_unknown_of_a_connection_is_left_out(running: Process) -> None:
    assert running.get("/hello", {"X-Tenant-Id": "acme", "X-Connection-Id": "c1"}).status == 200
    until(lambda: gateway("connections", "c1").returncode == 0, "the call to be counted")
    shown = gateway("connections", "c1").stdout
    assert re.search(r"^state +online$", shown, re.MULTILINE)
    assert "null" not in shown
    assert "{}" not in shown
    assert json.loads(gateway("connections", "c1", "--json").stdout)["last_failure"] is None


def test_a_candidate_with_files_is_compared_with_what_runs(running: Process) -> None:
    folder = Path("demo/policies")
    (folder / "fixtures").mkdir()
    (folder / "fixtures" / "a.yaml").write_text("version: 1\nanswers: [{match: {path: /x}, body: {a: 1}}]\n")
    text = (folder / "policies.yaml").read_text()
    route = "\n  - name: tried\n    match: {path_prefix: /tried/}\n    upstream: api\n"
    sandbox = "    modules: {sandbox: {when: {header: X-Try, prefix: s}, fixtures: fixtures/%s.yaml}}\n"
    Path("new.yaml").write_text(text + route + sandbox % "a")
    assert "routes tried: added" in gateway("diff", "new.yaml", "--running").stdout
    Path("new.yaml").write_text(text + route + sandbox % "none")
    refused = gateway("diff", "new.yaml", "--running")
    assert (refused.returncode, refused.stdout) == (1, "")
    first, second = refused.stderr.splitlines()
    assert first == "gateway: the running gateway does not accept it"
    assert second == "there is no file 'policies/fixtures/none.yaml' [not-found]"


def test_a_health_check_is_one_line(running: Process) -> None:
    assert gateway("healthcheck").stdout == '{"status": "ready"}\n'
    gateway("drain")
    drained = gateway("healthcheck")
    assert (drained.returncode, drained.stdout, drained.stderr.count("\n")) == (1, "", 1)
    drained = gateway("healthcheck", "--json")
    assert (drained.returncode, json.loads(drained.stdout), drained.stderr) == (1, {"status": "draining"}, "")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"title": "Unauthorized", "detail": "Send the admin token."}', "Send the admin token."),
        (
            '{"code": "TOKEN_REQUIRED", "detail": "The admin token is wrong."}',
            "The admin token is wrong. Name it in the settings (-c FILE) or by GATEWAY_ADMIN_TOKEN=env:NAME.",
        ),
        ('{"status": "draining"}', '{"status": "draining"}'),
        ('["detail"]', '["detail"]'),
        ("no\nJSON", "no JSON"),
    ],
)
def test_why_a_health_check_says_no_is_a_sentence(body: str, said: str) -> None:
    assert reason(body) == said


def test_a_line_of_the_log_is_explained_with_counters(running: Process) -> None:
    assert running.get("/hello", {"X-Tenant-Id": "acme"}).status == 200
    (line,) = running.wait_for("http.access")
    done = gateway("explain", "--live", "--json", stdin=json.dumps(line))
    (limit,) = [one for one in json.loads(done.stdout)["limits"] if one["name"] == "tenant-10m"]
    assert (done.returncode, limit["for"], limit["remaining"]) == (0, "acme", 499)


@pytest.mark.parametrize("words", [["limits", "grant", "l"], ["limits", "grant", "l", "--limit", "5"], ["limits", "grant", "l", "--limit", "5", "--end"], ["top", "-n", "0"], ["top", "--by", "x"], ["limits"], ["statsu"]])  # fmt: skip
def test_wrong_use(words: list[str]) -> None:
    assert gateway(*words).returncode == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["top", "--by", "tenant"], "'--by': 'tenant' is not one of 'rejected', 'requests', 'shadow_rejected'."),
        (["schema", "policy"], "'WHAT': 'policy' is not one of 'policies', 'settings', 'fixtures'."),
        (["limits", "show", "--every", "x"], "No such option: --every"),
        (["limits", "grant", "l", "--limit", "0"], "'--limit': Input should be greater than or equal to 1"),
    ],
)
def test_wrong_use_is_told_in_plain_words(words: list[str], told: str) -> None:
    done = gateway(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] in (f"Error: Invalid value for {told}", f"Error: {told}")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["status", "--every", "5"], "add --watch"),
        (["top", "--every", "5"], "add --watch"),
        (["top", "--repeats", "--by", "requests"], "leave --by out"),
        (["limits", "grant", "l", "c", "--end", "--ttl", "2h"], "leave --ttl out"),
        (["connections", "conn_42", "--state", "offline"], "leave the ID out"),
        (["connections", "test", "conn_42", "--state", "offline"], "leave the ID out"),
        (["connections", "--upstream", "crm"], "connections test ID"),
        (["connections", "conn_42", "--upstream", "crm"], "connections test ID"),
        (["explain", "GET /x", "--admin", "127.0.0.1:1"], "add --live"),
        (["explain", "-", "/x"], "leave PATH, --header and --client-ip out"),
        (["explain", "-", "-H", "X-Tenant-Id: acme"], "leave PATH, --header and --client-ip out"),
        (["explain", "--live", "--client-ip", "192.0.2.1"], "leave PATH, --header and --client-ip out"),
        (["hash-key", "--env-file", "x"], "for --pepper"),
        (["diff", "old", "new", "--insecure"], "add --running"),
        (["check", "--json", "--format", "github"], "either --json or --format github"),
        (["check", "--json", "--format", "text"], "either --json or --format text"),
        (["top", "--repeats", "--every", "5"], "leave --every out"),
        (["top", "--repeats", "--every", "5", "--watch"], "leave --watch and --every out"),
        (["status", "--ca", "ca.pem", "--insecure"], "either --ca or --insecure"),
    ],
)
def test_no_option_is_taken_and_ignored(words: list[str], told: str) -> None:
    done = gateway(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("words", [["status"], ["top"], ["tail"], ["limits", "show"], ["breaker", "show"], ["connections"], ["drain"], ["diff", "--running", "p.yaml"]])  # fmt: skip
def test_a_gateway_that_is_not_there(words: list[str], place: Path) -> None:
    Path("p.yaml").write_text("version: 1\n")
    done = gateway(*words, "--admin", "127.0.0.1:1")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "gateway: no answer from the admin listener at 127.0.0.1:1: Connection refused\n"


def test_tail_shows_calls_as_they_happen_until_it_is_interrupted(running: Process, tmp_path: Path) -> None:
    out = tmp_path / "tail.out"
    with out.open("wb") as file:
        command = [sys.executable, "-m", "gateway", "tail", "--tenant", "acme"]
        tail = subprocess.Popen(command, stdout=file, stderr=subprocess.PIPE, env={"PYTHONPATH": str(Path(__file__).parents[2]), "GATEWAY_ADMIN": f"127.0.0.1:{running.admin_port}", "PYTHONUNBUFFERED": "1"})  # fmt: skip

    def seen() -> bool:
        running.get("/hello/there", {"X-Tenant-Id": "acme"})
        running.get("/other", {"X-Tenant-Id": "b"})
        return b"200 GET /hello/there acme allowed" in out.read_bytes()

    until(seen, "the call in the tail", gap_s=0.2)  # it may begin late, and acme has 500 calls
    tail.send_signal(signal.SIGINT)
    _, err = tail.communicate(timeout=30)
    assert (tail.returncode, err) == (0, b"")
    assert b"/other" not in out.read_bytes()


STRANGE = {
    "a page": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n<htm>",
    "no HTTP": b"SSH-2.0-OpenSSH\r\n",
    "a list": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
    "an empty object": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "a cut one": b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"a"',
    "a stream of something": b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 5\n\n",
    "a stream that ends": b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: {}\n\n",
    "nothing": b"",
}


@pytest.mark.parametrize("answer", STRANGE.values(), ids=STRANGE)
def test_what_is_no_gateway_is_told_as_such(answer: bytes, place: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    caller = server.accept()[0]
                    caller.recv(65536)
                    caller.sendall(answer)
                    caller.close()

        threading.Thread(target=serve, daemon=True).start()
        admin = f"127.0.0.1:{server.getsockname()[1]}"
        for words in (["status"], ["top"], ["tail"], ["limits", "show"], ["limits", "reset", "l"], ["breaker", "auto", "b"],
                      ["connections"], ["drain"], ["explain", "/x", "--live"], ["diff", "--running", "new-policies"]):  # fmt: skip
            done = gateway(*words, "--admin", admin)
            assert done.returncode == 3, (words, done)
            assert done.stderr.startswith("gateway: ")
        server.shutdown(socket.SHUT_RDWR)


def test_a_wrong_token_is_told_and_no_token_is_shown(
    place: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, admin = free_port(), free_port()
    words = ["--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}", "--store", "local"]
    env = {"PYTHONPATH": str(Path(__file__).parents[2]), "GATEWAY_ADMIN_TOKEN": "env:TOKEN", "TOKEN": "right" * 5}
    start("-m", "gateway", "run", "-q", *words, cwd=place / "demo", env=env).wait_for("gateway.ready")
    monkeypatch.setenv("GATEWAY_ADMIN", f"127.0.0.1:{admin}")
    assert gateway("status").returncode == 1
    monkeypatch.setenv("GATEWAY_ADMIN_TOKEN", "env:TOKEN")
    monkeypatch.setenv("TOKEN", "wrong" * 5)
    refused = gateway("limits", "show")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "answers 401" in refused.stderr
    assert "wrong" * 5 not in refused.stderr
    monkeypatch.setenv("TOKEN", "right" * 5)
    assert gateway("status").returncode == 0
