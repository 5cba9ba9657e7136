"""`gateway check` as a function: what it prints, and its exit code."""

import io
import itertools
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.policies.checking import run_check
from gateway.cli.showing.findings import excerpt
from gateway.policy.findings import PolicyError
from gateway.policy.models.settings import SettingsFile
from gateway.policy.shipped import shipped
from tests.policy.whole import BASE, LIMIT, ROUTE, a_limit

GOOD = a_limit(LIMIT)
BAD = a_limit(LIMIT + ", limt: 5")
WARNED = GOOD.replace("upstreams:\n", "upstreams:\n  spare: {url: 'http://spare'}\n")
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(directory: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """(exit code, what was printed) of checking a file of this text, or these paths."""

    def of(
        text: str | None = None,
        *paths: str,
        strict: bool = False,
        show: bool = False,
        output: str = "text",
        secrets: bool = True,
    ) -> Any:
        if text is not None:
            (directory / "p.yaml").write_text(text)
        targets = [Path(path) for path in paths or (["p.yaml"] if text is not None else [])]
        code = run_check(targets, strict=strict, print_effective=show, output=output, env={}, need_secrets=secrets)
        captured = capsys.readouterr()
        assert captured.err == ""
        return code, captured.out

    return of


def test_a_good_file(run: Run) -> None:
    code, out = run(GOOD)
    assert code == 0
    assert out.startswith("ok: 1 limit, 1 route, version ")
    assert out.count("\n") == 1


def test_an_error_shows_its_line_with_a_caret(run: Run) -> None:
    assert run(BAD) == (
        1,
        "p.yaml:6:80: unknown key 'limt' (did you mean 'limit'?) [unknown-key]\n"
        "     6 |   per-tenant: {algorithm: rolling_window, limit: 5, window: 1s, key: [tenant], limt: 5}\n"
        "       | " + " " * 79 + "^\n"
        "not valid: 1 error\n",
    )


def test_warnings_pass_unless_strict(run: Run) -> None:
    code, out = run(WARNED)
    assert (code, out.splitlines()[0]) == (
        0,
        "p.yaml:4:3: warning: upstream 'spare' is defined but not used [unused]",
    )
    assert out.endswith(", 1 warning\n")
    code, out = run(WARNED, strict=True)
    assert (code, out.splitlines()[-1]) == (1, "not valid: 1 warning")


SECRETS = """
keys: {tenant: {from: header, name: X-Tenant-Id, on_missing: reject}}
authentication:
  tokens: {type: jwt, algorithms: [HS256], issuer: i, audience: a, secret: "env:SHARED"}
  keys: {type: api_keys, header: X-Api-Key, pepper: "env:PEPPER", keys: [{id: one, hash: "blake2b:HASH"}]}
upstreams: {erp: {url: "http://erp"}}
credentials:
  a: {upstream: erp, match: {tenant: a}, type: bearer, token: "env:TOKEN"}
  b: {upstream: erp, match: {tenant: b}, type: basic, username: "file:user", password: "env:WORD"}
  c: {upstream: erp, match: {tenant: c}, type: oauth2, grant: refresh_token, token_url: "https://a.example/t",
      client_id: x, client_secret: "env:CLIENT", refresh_token: "env:REFRESH"}
routes: [{name: r, upstream: erp, authenticate: [tokens, keys]}]
""".replace("HASH", "0" * 64)
NEEDS = """
admin: {address: 0.0.0.0:9090}
admin_token: env:ADMIN
store: {url: env:STORE}
policies: p.yaml
webhooks: {targets: {t: {url: "https://t.example/x", secrets: ["env:HOOK"]}}}
"""


def test_without_secrets_all_the_rest_is_checked(run: Run, directory: Path) -> None:
    code, out = run(SECRETS)
    assert (code, out.count("[missing-secret]"), out.splitlines()[-1]) == (1, 8, "not valid: 8 errors")
    code, out = run(SECRETS, secrets=False)
    assert (code, out.count("\n")) == (0, 1)
    assert out.endswith(", without 8 secrets\n")
    code, out = run(SECRETS.replace("name: r", "nmae: r"), secrets=False)
    assert (code, out.splitlines()[-1]) == (1, "not valid: 1 error")


def test_however_many_secrets_are_missing_the_rest_is_checked(run: Run) -> None:
    many = "".join(
        f'  c{n}: {{upstream: erp, match: {{tenant: "{n}"}}, type: bearer, token: "env:T{n}"}}\n' for n in range(1_100)
    )
    code, out = run(SECRETS.replace("credentials:\n", f"credentials:\n{many}"), secrets=False)
    assert code == 0
    assert out.endswith(", without 1108 secrets\n")


def test_without_the_secrets_of_the_settings_the_policies_are_checked_too(run: Run, directory: Path) -> None:
    (directory / "s.yaml").write_text(NEEDS)
    (directory / "p.yaml").write_text(BAD)
    code, out = run(None, "s.yaml")
    assert (code, out.count("[missing-secret]"), "limt" in out) == (1, 3, False)
    code, out = run(None, "s.yaml", secrets=False)
    assert (code, "limt" in out, out.splitlines()[-1]) == (1, True, "not valid: 1 error")


def test_a_directory_and_standard_input(run: Run, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (directory / "policies").mkdir()
    (directory / "policies" / "a.yaml").write_text(GOOD)
    assert run(None, "policies")[0] == 0

    class Stdin:
        buffer = io.BytesIO(BAD.encode())

    monkeypatch.setattr(sys, "stdin", Stdin)
    code, out = run(None, "-")
    assert code == 1
    assert out.startswith("<stdin>:6:80: unknown key 'limt'")


def test_files_below_that_are_not_read_are_told_beside_those_that_are(run: Run, directory: Path) -> None:
    for name in "abcd":
        (directory / "all" / name).mkdir(parents=True)
        (directory / "all" / name / "p.yaml").write_text(GOOD)
    (directory / "all" / "p.yaml").write_text(GOOD)
    code, out = run(None, "all", strict=True)
    assert (code, out.partition("(")[2]) == (0, "all/p.yaml; not those in all/a, all/b, all/c and 1 more)\n")


def test_nothing_named_is_what_run_would_use(run: Run, directory: Path) -> None:
    (directory / "config").mkdir()
    (directory / "config" / "gateway.yaml").write_text("policies: ../mine\nworkers: x\n")
    assert run(None) == (
        1,
        "config/gateway.yaml:2:10: expected a number of processes or auto, got 'x' [wrong-type]\n"
        "     2 | workers: x\n"
        "       |          ^\n"
        "not valid: 1 error\n",
    )
    (directory / "config" / "gateway.yaml").write_text("policies: ../mine\n")
    assert run(None)[1].startswith("mine: cannot be read: No such file or directory [not-found]\n")
    (directory / "mine").mkdir()
    (directory / "mine" / "p.yaml").write_text(GOOD)
    assert run(None)[0] == 0


def test_settings_that_do_not_say_where_the_policies_are(run: Run, directory: Path) -> None:
    (directory / "config").mkdir()
    (directory / "config" / "s.yaml").write_text("name: mine\n")
    said = "the settings do not say where the policies are, and there is nothing at the default place"
    assert run(None, "config/s.yaml") == (
        1,
        f"policies: {said} (policies: PATH, or -p PATH) [not-found]\nnot valid: 1 error\n",
    )
    (directory / "policies").mkdir()
    (directory / "policies" / "p.yaml").write_text(GOOD)
    assert run(None, "config/s.yaml")[0] == 0


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("limits: [per-tenant]", "limits: per-tenant"), ("limits:\n", "limits: all\nlimit:\n")],
)
def test_what_a_wrong_entry_may_use_is_not_called_unused(run: Run, right: str, wrong: str) -> None:
    assert right in WARNED
    code, out = run(WARNED.replace(right, wrong))
    assert (code, "not used" in out) == (1, False)


def test_a_misspelt_key_is_one_error(run: Run) -> None:
    found = json.loads(run(GOOD.replace("limit: 5", "limt: 5"), output="json")[1])["errors"]
    assert [one["message"] for one in found] == ["unknown key 'limt'"]


def test_a_settings_file_brings_its_policies(run: Run, directory: Path) -> None:
    (directory / "p.yaml").write_text(BAD)
    (directory / "s.yaml").write_text("policies: p.yaml\nstore: {url: local}\n")
    code, out = run(None, "s.yaml")
    assert (code, out[:12]) == (1, "p.yaml:6:80:")


@pytest.mark.parametrize("key", sorted(SettingsFile.model_fields.keys() - {"version"}))
def test_a_settings_file_is_known_by_any_key_of_settings(run: Run, directory: Path, key: str) -> None:
    (directory / "s.yaml").write_text(f"{key}: []\n")
    assert f"unknown section '{key}'" not in run(None, "s.yaml")[1]


def test_json_is_one_document(run: Run) -> None:
    code, out = run(BAD, output="json")
    assert code == 1
    assert json.loads(out) == {
        "valid": False,
        "errors": [
            {
                "file": "p.yaml",
                "line": 6,
                "col": 80,
                "code": "unknown-key",
                "message": "unknown key 'limt'",
                "hint": "did you mean 'limit'?",
            }
        ],
        "warnings": [],
    }


def test_annotations_of_a_workflow(run: Run) -> None:
    assert run(BAD, output="github")[1].splitlines()[0] == (
        "::error file=p.yaml,line=6,col=80,title=unknown-key::unknown key 'limt' (did you mean 'limit'?)"
    )
    assert run(None, "50%,a:b.yaml", output="github")[1].splitlines()[0] == (
        "::error file=50%25%2Ca%3Ab.yaml,title=not-found::cannot be read: No such file or directory"
    )
    assert run(WARNED, output="github")[1].startswith("::warning file=p.yaml,line=4,col=3,title=unused::")


EXTRAS = ", overrides: [{match: {tenant: acme}, limit: 2000}, {match: {tenant: probe}, mode: off}], shadow: {limit: 4}"


def test_what_would_really_be_run(run: Run) -> None:
    lines = run(a_limit(LIMIT + EXTRAS), show=True)[1].splitlines()
    assert [" ".join(line.split()) for line in lines[1:]] == [
        "keys:",
        "tenant header x-tenant-id, when missing: skip",
        "limits:",
        "per-tenant rolling_window 5 per 1s by tenant (enforce, per_call, store down: local) # p.yaml:6",
        "tenant=acme 2000 per 1s (enforce) # p.yaml:6",
        "tenant=probe 5 per 1s (off) # p.yaml:6",
        "shadow rolling_window 4 per 1s # p.yaml:6",
        "upstreams:",
        "api builtin:echo # p.yaml:4",
        "routes, first match wins:",
        "all every call -> api (per-tenant) # p.yaml:8",
    ]


GUARDED = """
breakers:
  vendor: {key: [tenant], consecutive_failures: 5, failure_rate: 12.5%, slow_call: {duration: 2s, rate: 80%}}
retries:
  twice: {attempts: 2}
"""


def test_breakers_and_retries_of_routes(run: Run) -> None:
    out = run(
        a_limit(LIMIT).replace("[per-tenant]", "[per-tenant], breaker: vendor, retry: twice") + GUARDED, show=True
    )[1]
    whys = "5 failures in a row or 12.5% failures in 1m or 80% slower than 2s"
    assert f"by tenant, opens at {whys}, for 30s  # p.yaml:11" in out
    assert "all                      every call -> api (per-tenant; breaker vendor; retry twice)" in out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("algorithm: token_bucket, rate: 60, per: 1m, burst: 20", "token_bucket 60 per 1m, burst 20"),
        ("algorithm: concurrency, limit: 8", "concurrency 8 at once, lease 1m"),
        ("algorithm: rolling_window, limit: 9, window: 1h, precision: 7", "9 per 1h in steps of 514285715us"),
        ("algorithm: fixed_window, limit: 9, window: 1500ms", "fixed_window 9 per 1500ms"),
    ],
)
def test_limits_in_words(run: Run, text: str, words: str) -> None:
    assert words in run(a_limit(f"{text}, key: []"), show=True)[1]


def test_routes_and_upstreams_in_words(run: Run) -> None:
    text = BASE.replace('"builtin:echo"', '"https://a.example:8443/v1"') + (
        "  sock: {url: 'unix:///run/a.sock'}\n"
        "routes:\n"
        "  - {name: a, upstream: api, match: {host: b.example, path_prefix: /erp, method: [PUT, GET]}}\n"
        "  - {name: b, upstream: sock, match: {path: '/t/{id}/**', header: {X-Any: '*', X-One: '1'}}}\n"
    )
    lines = [" ".join(line.split()) for line in run(text, show=True)[1].splitlines()]
    assert "api https://a.example:8443/v1 # p.yaml:4" in lines
    assert "sock unix:///run/a.sock # p.yaml:5" in lines
    assert "a GET,PUT b.example/erp/** -> api (no limits) # p.yaml:7" in lines
    assert "b /t/{id}/** x-any: * x-one: 1 -> sock (no limits) # p.yaml:8" in lines


def test_effective_settings_come_with_their_origin_and_without_secrets(run: Run, directory: Path) -> None:
    (directory / "p.yaml").write_text(GOOD)
    (directory / "url").write_text("redis://:hunter2@h:1/2")
    (directory / "s.yaml").write_text("policies: p.yaml\nadmin: off\nwatchdog: off\nstore:\n  url: file:url\n")
    out = run(None, "s.yaml", show=True)[1]
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "store.url redis://***@h:1/2 s.yaml:5" in lines
    assert "watchdog off s.yaml:3" in lines
    assert "admin off s.yaml:2" in lines
    assert "bounds.body_bytes none default" in lines
    assert "drain.grace 30s default" in lines
    document = json.loads(run(None, "s.yaml", show=True, output="json")[1])["effective"]
    assert document["settings"][0]["store.url"] == {"value": "redis://***@h:1/2", "origin": "s.yaml:5"}
    assert document["policies"]["limits"]["per-tenant"]["window_us"] == 1_000_000
    assert document["policies"]["routes"][0]["limits"] == ["per-tenant"]
    assert "hunter2" not in out + json.dumps(document)


def test_the_shipped_files_are_right(run: Run) -> None:
    assert run(None, str(shipped("config/gateway.yaml")), strict=True, show=True)[0] == 0


def test_the_caret_stands_right_behind_a_secret_that_is_not_shown(run: Run) -> None:
    entry = "{id: a, hash: 'sha256:" + "0" * 64 + "', clams: {x: y}}"
    text = f"authentication:\n  k:\n    type: api_keys\n    keys:\n      - {entry}\n{GOOD}"
    lines = run(text)[1].splitlines()
    shown, caret = next(pair for pair in itertools.pairwise(lines) if "clams:" in pair[0] and "|" in pair[0])
    assert "0000" not in shown
    assert caret.index("^") == shown.index("clams")


def finding(text: str, col: int) -> PolicyError:
    return PolicyError("f", 7, col, "code", "message", excerpt=text)


@pytest.mark.parametrize(
    ("text", "col", "lines"),
    [
        ("a: b", 4, ["     7 | a: b", "       |    ^"]),
        ("\ta: \x1bb", 3, ["     7 | \ta: ?b", "       | \t ^"]),
        ("a" * 1000, 500, ["     7 | " + "a" * 160, "       | " + " " * 79 + "^"]),
        ("   ", 1, []),
    ],
)
def test_excerpts_are_bounded_and_printable(text: str, col: int, lines: list[str]) -> None:
    assert list(excerpt(finding(text, col))) == lines


def test_a_route_file_alone_is_not_taken_for_settings(run: Run) -> None:
    assert run("name: x\n" + BASE + ROUTE.replace("[per-tenant]", "[]"))[1].startswith(
        "p.yaml:1:1: unknown section 'name'"
    )


WITH_SETS = """\
version: 1
keys:
  connection: {from: header, name: X-Connection-Id, on_missing: skip}
limits:
  contract: {algorithm: fixed_window, limit: 10, window: month, timezone: Europe/Berlin, key: [], shadow: {limit: 5}}
authentication:
  users: {type: jwt, issuer: i, audience: a, algorithms: [HS256], secret: "env:SECRET"}
retries:
  standard: {attempts: 3}
upstreams:
  up:
    url: http://up.example
    probe: {expect: [200, 204]}
    learn_limits: {scope: connection, also_on: [503, 403]}
routes:
  - name: all
    upstream: up
    limits: [contract]
    authenticate: [users]
    retry: standard
    modules: {cache: {match: {path: /x}, vary_by: [connection], ttl: 1s}}
"""


def test_json_has_words_for_every_value(run: Run) -> None:
    """Sets, calendars and zones are no JSON."""
    code, out = run(WITH_SETS, show=True, output="json", secrets=False)
    assert code == 0, out
    shown = json.loads(out)["effective"]["policies"]
    (contract,) = shown["limits"].values()
    assert contract["calendar"] == {"unit": "month", "timezone": "Europe/Berlin"}
    assert shown["upstreams"]["up"]["probe"]["expect"] == [200, 204]
    assert shown["upstreams"]["up"]["learning"]["also_on"] == [403, 503]
    assert 429 in shown["retries"]["standard"]["statuses"]
