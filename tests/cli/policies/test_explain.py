"""`gateway explain`: offline, from log lines, and what it says when it cannot."""

import json
from pathlib import Path

import pytest

from tests.cli.command import gateway

POLICY = """
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: reject}
  connection: {from: header, name: X-Connection-Id, on_missing: skip}
limits:
  tenant-10m:
    algorithm: rolling_window
    limit: 500
    window: 10m
    key: [tenant]
    overrides: [{match: {tenant: acme}, limit: 2000}]
    shadow: {limit: 400}
  connection-1m: {algorithm: token_bucket, rate: 60, per: 1m, burst: 20, key: [connection]}
breakers:
  fragile: {key: [connection], consecutive_failures: 3}
retries:
  gentle: {attempts: 3, backoff: {schedule: [1s, 2s]}}
upstreams:
  erp: {url: "https://erp.example/v1", pace: {rate: 5, per: 1s}, learn_limits: {from: [Retry-After], scope: connection}}
routes:
  - name: erp
    match: {path_prefix: /erp/}
    strip_prefix: /erp
    upstream: erp
    limits: [tenant-10m, connection-1m]
    breaker: fragile
    retry: gentle
    operations: [{name: batch, entity: product, match: {method: POST}, cost: {connection-1m: 5}}]
"""
LINE = {"event_name": "http.access", "method": "POST", "path": "/erp/a", "tenant": "acme", "connection": "c1"}


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    path = tmp_path / "policies.yaml"
    path.write_text(POLICY)
    return path


def test_where_a_call_comes_from_is_an_address_as_the_gateway_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(POLICY.replace("{from: header, name: X-Connection-Id, on_missing: skip}", "{from: client_ip}"))
    words = ("explain", "GET /erp/a", "-H", "X-Tenant-Id: beta", "-p", path, "--client-ip")
    assert "key         connection = 10.0.0.1 (client_ip" in gateway(*words, "::ffff:10.0.0.1").stdout
    wrong = gateway(*words, "nope")
    assert (wrong.returncode, wrong.stdout, wrong.stderr) == (2, "", "gateway: 'nope' is not an IP address\n")


def test_every_fact_has_a_line(policies: Path) -> None:
    done = gateway("explain", "POST /erp/a?b=1", "-H", "X-Tenant-Id: beta", "-H", "X-Connection-Id: c1", "-p", policies)
    assert (done.returncode, done.stderr) == (0, "")
    shown = done.stdout.replace(str(policies), "p")
    for fact in (
        "call        POST /erp/a?b=1\n",
        "outcome     asks 2 limits",
        "route       erp (/erp/**)  # p:",
        "operation   batch on product\n",
        "key         tenant = beta (header x-tenant-id, when missing: reject)\n",
        "limit       tenant-10m: rolling_window 500 per 10m for beta  # p:",
        "            in shadow: rolling_window 400 per 10m\n",
        "limit       connection-1m: token_bucket 60 per 1m, burst 20 for c1, costs 5  # p:",
        "pause       if erp asks for one, at most 900 s, for c1\n",
        "breaker     fragile for c1  # p:",
        "retry       gentle: POST is not repeated without Idempotency-Key  # p:",
        "pace        5 per 1s, burst 1 by everybody together\n",
        "upstream    erp: POST https://erp.example/v1/a?b=1  # p:",
        "sent        POST /v1/a?b=1 HTTP/1.1\n            Host: erp.example\n            X-Tenant-Id: beta\n",
        "            and X-Request-Id, traceparent of the call\n",
    ):
        assert fact in shown, shown


@pytest.mark.parametrize(
    ("credential", "shown"),
    [
        ("type: header, name: X-Key, value: 'env:ERP_KEY'", "X-Key: ***\n"),
        ("type: query, name: key, value: 'env:ERP_KEY'", "sent        GET /v1/a?key=*** HTTP/1.1\n"),
    ],
)
def test_credentials_take_the_place_of_the_callers_and_are_not_shown(
    tmp_path: Path, credential: str, shown: str
) -> None:
    path = tmp_path / "policies.yaml"
    path.write_text(f"{POLICY}credentials:\n  erp-key: {{upstream: erp, {credential}}}\n")
    fields = ["-H", "X-Tenant-Id: acme", "-H", "Authorization: Bearer own-secret"]
    done = gateway("explain", "/erp/a", *fields, "-p", path, env={"ERP_KEY": "the-secret"})
    assert shown in done.stdout, done.stdout + done.stderr
    assert "Authorization" not in done.stdout
    assert "secret" not in done.stdout


def test_a_call_that_is_refused_is_sent_nowhere(policies: Path) -> None:
    assert "sent  " not in gateway("explain", "GET /erp/a", "-p", policies).stdout


def test_an_override_is_named(policies: Path) -> None:
    done = gateway("explain", "/erp/a", "-H", "X-Tenant-Id: acme", "-p", policies)
    assert "rolling_window 2000 per 10m for acme" in done.stdout
    assert "            by its override for tenant=acme\n" in done.stdout


def test_a_call_that_costs_nothing_asks_no_limit(policies: Path) -> None:
    policies.write_text(POLICY.replace("{connection-1m: 5}", "{tenant-10m: 0, connection-1m: 0}"))
    done = gateway("explain", "POST /erp/a", "-p", policies)
    assert done.returncode == 0
    assert "outcome     asks no limit\n" in done.stdout
    assert "tenant-10m: not asked, the call costs nothing of it" in done.stdout


def test_what_is_missing_is_the_answer_and_the_exit_code(policies: Path) -> None:
    done = gateway("explain", "GET /erp/a", "-p", policies)
    assert done.returncode == 1
    assert "refused with 400 RATE_LIMIT_KEY_MISSING" in done.stdout
    assert "tenant-10m: not asked, a key part is missing" in done.stdout


def test_method_and_path_may_be_two_words(policies: Path) -> None:
    one, two = (gateway("explain", *words, "-p", policies) for words in (["GET /erp/a"], ["GET", "/erp/a"]))
    assert (one.returncode, one.stdout) == (two.returncode, two.stdout)
    assert "call        GET /erp/a" in two.stdout


def test_as_json_it_is_one_document(policies: Path) -> None:
    done = gateway("explain", "/erp/a", "-k", "tenant=acme", "-p", policies, "--json")
    document = json.loads(done.stdout)
    assert done.returncode == 0
    assert [limit["asked"] for limit in document["limits"]] == [True, False]
    assert document["limits"][1]["why_not"] == "skipped: the call has no connection"
    assert document["retry"]["waits"] == ["1s", "2s"]


def test_lines_of_the_log_are_explained_one_by_one(policies: Path) -> None:
    lines = json.dumps(LINE) + "\n" + json.dumps({**LINE, "tenant": ""}) + "\n"
    done = gateway("explain", "-p", policies, "--json", stdin=lines)
    first, second = map(json.loads, done.stdout.splitlines())
    assert done.returncode == 1
    assert first["limits"][0]["partition"] == "tenant-10m:{=acme}"
    assert second["refused"]["code"] == "RATE_LIMIT_KEY_MISSING"


def test_events_between_the_calls_are_passed_over(policies: Path) -> None:
    event = json.dumps({"event_name": "gateway.ready", "message": "Worker serves calls"})
    call = json.dumps({"event_name": "http.access", "method": "GET", "path": "/x", "tenant": "acme"})
    nothing = json.dumps({"event_name": "http.access", "status": 400})
    done = gateway("explain", "-p", policies, "--json", stdin="\n".join([event, call, nothing, call]) + "\n")
    assert [json.loads(one)["request"]["target"] for one in done.stdout.splitlines()] == ["/x", "/x"]


def test_lines_that_were_cut_off_are_passed_over_and_counted(policies: Path) -> None:
    """What a worker leaves that was killed while it wrote."""
    call = json.dumps({**LINE, "path": "/x"})
    done = gateway("explain", "-p", policies, "--json", stdin=f"{call}\n{call[:40]}\n\n{call}\n")
    assert [json.loads(one)["request"]["target"] for one in done.stdout.splitlines()] == ["/x", "/x"]
    assert done.stderr == "gateway: not lines of the gateway's log, and passed over: 2, first line 2\n"


@pytest.mark.parametrize(
    "stdin", ["", "hello\n", "[1]\n", '{"event_name": "gateway.ready"}\n', "\x00\xff{" * 99, "[" * 99_999]
)
def test_what_is_no_line_of_the_log_is_a_usage_error(policies: Path, stdin: str) -> None:
    done = gateway("explain", "-p", policies, stdin=stdin)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "line" in done.stderr


@pytest.mark.parametrize(
    "words",
    [["GET erp/a"], ["GET /a", "/b"], ["G=T /erp/a"], ["GET /a b"], ["GET /erp\x07"], ["GET http://[x/"], ["GET /a", "-H", "no-colon"], ["GET /a", "-H", "bad name: x"], ["GET /a", "-k", "tenant"], ["GET /a", "--live", "-p", "x"]],
)  # fmt: skip
def test_what_nobody_could_send_is_a_usage_error(policies: Path, words: list[str]) -> None:
    done = gateway("explain", *words, *([] if "-p" in words else ["-p", policies]))
    assert done.returncode == 2, done.stdout
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_letters_beyond_ascii_are_sent_as_browsers_send_them(policies: Path) -> None:
    done = gateway("explain", "GET https://gw.example/erp/ü?x=ö", "-k", "tenant=ü", "-p", policies, "--json")
    document = json.loads(done.stdout)
    assert document["request"] == {"method": "GET", "target": "/erp/%C3%BC?x=%C3%B6", "host": "gw.example"}
    assert document["limits"][0]["for"].startswith("#")


def test_api_keys_are_looked_at_and_never_shown(tmp_path: Path) -> None:
    key = "k" * 32
    hashed = gateway("hash-key", stdin=key).stdout.strip()
    path = tmp_path / "p.yaml"
    path.write_text(
        "authentication:\n  keys: {type: api_keys, keys: [{id: a, hash: '" + hashed + "', "
        "claims: {tenant: acme}}]}\nkeys: {tenant: {from: api_key_entry, on_missing: reject}}\n"
        "limits: {l: {algorithm: concurrency, limit: 1, key: [tenant]}}\nupstreams: {u: {url: 'builtin:echo'}}\n"
        "routes: [{name: r, upstream: u, authenticate: [keys], limits: [l]}]\n"
    )
    good = gateway("explain", "GET /", "-H", f"X-Api-Key: {key}", "-p", path)
    assert good.returncode == 0, good.stdout + good.stderr
    assert "concurrency 1 at once, lease 1m for acme" in good.stdout
    assert key not in good.stdout
    bad = gateway("explain", "GET /", "-H", f"X-Api-Key: {key}x", "-p", path)
    assert bad.returncode == 1
    assert "refused with 401" in bad.stdout


def test_a_key_part_that_the_route_does_not_have_is_told(policies: Path) -> None:
    done = gateway("explain", "GET /erp/a", "-k", "tenant=acme", "-k", "conection=c1", "-p", policies)
    assert (done.returncode, "tenant = acme" in done.stdout) == (0, True)
    assert done.stderr == "gateway: --key conection: what takes the call has no such key part\n"
    nowhere = gateway("explain", "GET /nowhere", "-k", "tenant=acme", "-p", policies)
    assert (nowhere.returncode, nowhere.stderr) == (1, "")


def test_a_gateway_that_is_not_there_is_unreachable() -> None:
    done = gateway("explain", "GET /", "--live", "--admin", "127.0.0.1:1")
    assert done.returncode == 3
    assert done.stderr.startswith("gateway: no answer from the admin listener at 127.0.0.1:1")


def test_calls_with_credentials_and_a_cache(policies: Path) -> None:
    caching = "\n    modules: {cache: {match: {path: /a}, vary_by: [tenant], ttl: 1m%s}}\n    operations"
    shown = ["X-Tenant-Id: beta", "X-Access-Token: s3cr3t", "Accept: b"]
    asked = ["explain", "GET /erp/a", *(word for one in shown for word in ("-H", one)), "-p", policies]
    for more, said in (
        ("", "answers to calls with x-access-token are kept only if they say public or s-maxage"),
        (", per_credential: true", "answers are kept 1m for each tenant"),
        (", impersonal_headers: [X-Access-Token]", "answers are kept 1m for each tenant"),
    ):
        policies.write_text(POLICY.replace("\n    operations", caching % more))
        done = gateway(*asked)
        assert f"cache       {said}" in done.stdout, done.stderr
        assert "s3cr3t" not in done.stdout
