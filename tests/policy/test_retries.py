"""Retries, error classes, learned limits, pace and breakers: what is written becomes what attempts follow."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.core.classes import DEFAULT, Counts, ErrorClass
from gateway.core.connections.state import ConnectionState
from gateway.core.guards import Breaker
from gateway.core.http.own_fields import OwnFields
from gateway.core.http.signals import Honor
from gateway.core.retry import IDEMPOTENT, Backoff, Repeat, Retry, Share
from gateway.core.upstream import Learning, Pace, Wording
from gateway.policy import Report, check
from gateway.policy.effective import policy_lines
from gateway.policy.shipped import shipped
from tests.policy.compiled import compiled

S = 1_000_000
Check = Callable[..., Report]
KEYS = """\
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: skip}
  connection: {from: header, name: X-Connection-Id, on_missing: skip}
"""
ROUTE = """\
upstreams:
  api: {url: "builtin:echo"}
routes:
  - {name: all, upstream: api, retry: r}
"""


def a_retry(report_of: Check, text: str) -> Retry:
    retry = compiled(report_of(f"retries:\n  r: {{{text}}}\n{ROUTE}")).routes[0].retry
    assert retry is not None
    return retry


def test_defaults_of_a_retry_policy(report_of: Check) -> None:
    assert a_retry(report_of, "attempts: 3") == Retry(
        "r",
        3,
        Backoff((), 100_000, 250_000, 10 * S),
        frozenset({429, 500, 502, 503, 504}),
        frozenset({"dns", "dns_timeout", "refused", "connect_timeout", "reset", "closed"}),
        IDEMPOTENT,
        Repeat.WITH_IDEMPOTENCY_KEY,
        frozenset(Honor),
        30 * S,
        1024 * 1024,
        share=Share(20, 3),
        told="error",
    )


def test_everything_that_may_be_said_of_a_retry_policy(report_of: Check) -> None:
    text = (
        "attempts: 3, backoff: {schedule: [1s, 250ms], jitter: 10%}, on_status: [5xx, 409], on_error: [tls], methods: [get],"
        " non_idempotent: always, honor: [RateLimit], max_wait: 5s, max_body: 1KiB, per_try: 2s, total: 20s,"
        " budget: {percent: 50, min_concurrent: 0}, on_exhausted: {log: warning}"
    )
    assert a_retry(report_of, text) == Retry(
        "r",
        3,
        Backoff((1 * S, 250_000), 100_000),
        frozenset({*range(500, 600), 409}),
        frozenset({"tls_certificate", "tls_protocol"}),
        frozenset({"GET"}),
        Repeat.ALWAYS,
        frozenset({Honor.RATELIMIT}),
        5 * S,
        1024,
        2 * S,
        20 * S,
        Share(50, 0),
        "warning",
    )


@pytest.mark.parametrize(
    ("text", "backoff"),
    [
        ("schedule: [1s]", Backoff((1 * S,), 0)),
        ("base: 1s", Backoff((), 100_000, 1 * S, 10 * S)),
        ("base: 20s", Backoff((), 100_000, 20 * S, 20 * S)),
        ("max: 100ms", Backoff((), 100_000, 100_000, 100_000)),
        ("base: 100ms, max: 2s, jitter: 50%", Backoff((), 500_000, 100_000, 2 * S)),
    ],
)
def test_backoffs_are_read(report_of: Check, text: str, backoff: Backoff) -> None:
    assert a_retry(report_of, f"attempts: 2, backoff: {{{text}}}").backoff == backoff


def test_no_budget_and_no_event(report_of: Check) -> None:
    retry = a_retry(report_of, "attempts: 2, budget: none, on_exhausted: {event: none}")
    assert (retry.share, retry.told) == (None, "")


def test_what_an_error_class_forbids_is_not_retried(report_of: Check) -> None:
    classes = "error_classes:\n  down: {status: [503], error: [connect], retry: false}\n"
    retry = a_retry(lambda text: report_of(classes + text), "attempts: 2")
    assert (retry.statuses, retry.errors) == ({429, 500, 502, 504}, {"reset", "closed"})


def test_vendor_b_is_as_its_table_says() -> None:
    policies = compiled(check([shipped("policies/examples/vendor-b-crm.yaml")]))
    retry = policies.routes[0].retry
    assert retry is not None
    assert (retry.attempts, retry.backoff.schedule_us) == (5, (1 * S, 2 * S, 4 * S, 8 * S))
    assert retry.statuses == {429, 500, 502, 503, 504}
    assert policies.classes.statuses[403].condition is ConnectionState.AUTH_REQUIRED


def test_error_classes_keep_their_order_and_the_defaults(report_of: Check) -> None:
    text = "error_classes:\n  gone: {status: [410], retry: false}\n  bad: {status: [4xx], error: [timeout], breaker: failure}\n"
    classes = compiled(report_of(text + ROUTE.replace(", retry: r", ""))).classes
    bad = ErrorClass("bad", breaker=Counts.FAILURE, source="p.yaml:3")
    assert [classes.statuses[status] for status in (410, 401)] == [
        ErrorClass("gone", retry=False, source="p.yaml:2"),
        bad,
    ]
    assert [classes.errors[error] for error in ("idle_timeout", "refused")] == [bad, DEFAULT.errors["refused"]]


def an_upstream(report_of: Check, text: str, classes: str = "") -> Report:
    return report_of(
        f"{KEYS}upstreams:\n  api: {{url: 'builtin:echo'{text}}}\nroutes:\n  - {{name: all, upstream: api}}\n{classes}"
    )


def test_what_is_learned(report_of: Check) -> None:
    text = ", learn_limits: {from: [Retry-After], scope: connection, max: 1m}"
    route = compiled(an_upstream(report_of, text)).routes[0]
    assert route.upstream.learning == Learning((Honor.RETRY_AFTER,), ("connection",), 60 * S)
    assert "connection" in [part.name for part in route.keys]
    text = ", learn_limits: {from: RateLimit, scope: connection, as_limit: true}"
    learning = compiled(an_upstream(report_of, text)).upstreams["api"].learning
    assert learning == Learning((Honor.RATELIMIT,), ("connection",), 900 * S, as_limit=True)
    assert compiled(an_upstream(report_of, "")).routes[0].upstream.learning is None
    text = ", learn_limits: {scope: connection, also_on: [403, 503], otherwise: 1m}"
    report = an_upstream(report_of, text)
    learning = compiled(report).upstreams["api"].learning
    assert learning is not None
    assert (learning.also_on, learning.otherwise_us) == ({403, 503}, 60 * S)
    assert "at most 15m, also on 403 503 that ask for it, 1m where a 429 says no time" in "\n".join(
        policy_lines(compiled(report))
    )
    worded = "{status: [403, 2xx], pointer: /a~1b/0, is: [x, 7]}, {status: [400], pointer: /c, is: 3}"
    said = compiled(an_upstream(report_of, f", learn_limits: {{scope: connection, also_when: [{worded}]}}"))
    learning = said.upstreams["api"].learning
    assert learning is not None
    assert learning.also_when == (
        Wording(frozenset({403, *range(200, 300)}), ("a/b", "0"), ("x", 7)),
        Wording(frozenset({400}), ("c",), (3,)),
    )
    own = "{remaining: X-Left, reset: X-Until}, {used: X-Used, window: 1m}"
    named = compiled(an_upstream(report_of, f", learn_limits: {{scope: connection, also_from: [{own}]}}"))
    assert named.routes[0].upstream.learning == Learning(
        tuple(Honor),
        ("connection",),
        also_from=(OwnFields("x-left", reset="x-until"), OwnFields(used="x-used", window_us=60 * S)),
    )
    assert "at most 15m, also from x-left x-used" in "\n".join(policy_lines(named))
    assert "at most 15m, also when JSON says so at /a~1b/0 /c" in "\n".join(policy_lines(said))
    both = compiled(an_upstream(report_of, ", learn_limits: {scope: [tenant, connection]}"))
    assert both.routes[0].upstream.learning == Learning(tuple(Honor), ("tenant", "connection"))
    assert "pauses by tenant, connection, at most 15m" in "\n".join(policy_lines(both))
    every = compiled(an_upstream(report_of, ", learn_limits: {scope: connection}")).upstreams["api"].learning
    assert every == Learning(tuple(Honor), ("connection",), 900 * S)


def test_an_error_class_that_pauses_is_enough(report_of: Check) -> None:
    classes = "error_classes:\n  slow: {status: [429], pause: tenant}\n"
    assert compiled(an_upstream(report_of, "", classes)).routes[0].upstream.learning == Learning(
        tuple(Honor), ("tenant",)
    )


def test_everybody_may_be_paused_unless_that_is_a_key_part(report_of: Check) -> None:
    route = compiled(an_upstream(report_of, ", learn_limits: {scope: everybody}")).routes[0]
    assert route.upstream.learning == Learning(tuple(Honor), ())
    assert route.upstream.learning.key == ()
    classes = "error_classes:\n  away: {status: [503], pause: everybody}\n"
    assert compiled(an_upstream(report_of, "", classes)).routes[0].upstream.learning == Learning(tuple(Honor), ())
    part = "  everybody: {from: query, name: who, on_missing: skip}\n"
    text = f"{KEYS}{part}upstreams:\n  api: {{url: 'builtin:echo', learn_limits: {{scope: everybody}}}}\n"
    named = compiled(report_of(text + "routes:\n  - {name: all, upstream: api}\n")).routes[0]
    assert named.upstream.learning == Learning(tuple(Honor), ("everybody",))


def test_paces_are_read(report_of: Check) -> None:
    policies = compiled(an_upstream(report_of, ", pace: {rate: 10, per: 1s}"))
    assert policies.upstreams["api"].pace == Pace(10, 1 * S)
    going_on = compiled(an_upstream(report_of, ", goes_on: 10s, pace: {rate: 10, per: 1s}"))
    assert going_on.upstreams["api"].goes_on_us == 10 * S
    assert "goes on for 10s with calls that were given up; paced at" in "\n".join(policy_lines(going_on))
    text = ", pace: {rate: 10, per: 1s, burst: 5, key: [connection], queue: 7, max_wait: 2s}"
    assert compiled(an_upstream(report_of, text)).upstreams["api"].pace == Pace(10, 1 * S, 5, ("connection",), 7, 2 * S)


def test_what_is_learned_or_paced_makes_no_other_upstream(report_of: Check) -> None:
    one = compiled(an_upstream(report_of, "")).upstreams["api"]
    other = compiled(
        an_upstream(report_of, ", pace: {rate: 1, per: 1s}, learn_limits: {from: RateLimit, scope: tenant}")
    )
    assert one == other.upstreams["api"]


def test_the_breaker_of_vendor_a_has_its_documented_numbers() -> None:
    policies = compiled(check([shipped("policies/examples/vendor-a-integration-platform.yaml")]))
    assert policies.routes[0].breaker == Breaker(
        "connection",
        ("connection",),
        failure_ppm=500_000,
        slow_ppm=800_000,
        slow_us=10 * S,
        consecutive_failures=5,
        growth_milli=2000,
        probe_us=53 * S,
        source=policies.breakers["connection"].source,
    )


def test_a_breaker_counts_by_a_key_part_that_nothing_else_asks_for(report_of: Check) -> None:
    text = KEYS.replace("connection:", "plan:") + ROUTE.replace("retry: r", "breaker: b")
    route = compiled(report_of(text + "breakers:\n  b: {key: [plan], consecutive_failures: 3}\n")).routes[0]
    assert [part.name for part in route.keys] == ["tenant", "plan"]


OWN = KEYS + "upstreams:\n  up: {url: 'http://u', learn_limits: {scope: tenant, also_from: [{%s}]}}\n"
BAD = {
    "a schedule beside an exponential": (
        "retries:\n  r: {attempts: 3, backoff: {schedule: [1s], base: 1s}}\n",
        "p.yaml:2:20: give either a schedule, or base and max [conflicting-keys]",
    ),
    "waits without units": (
        "retries:\n  r: {attempts: 3, backoff: {schedule: [1]}}\n",
        "p.yaml:2:41: expected a duration like 30s or 10m, got the number 1 [wrong-type]",
    ),
    "nothing for a budget": (
        "retries:\n  r: {attempts: 3, budget: }\n",
        "p.yaml:2:28: expected a mapping or none, got nothing [wrong-type]",
    ),
    "numbers of a budget": (
        "retries:\n  r: {attempts: 3, budget: {percent: 101}}\n",
        "p.yaml:2:38: must be at most 100, got 101 [out-of-range]",
    ),
    "a class of nothing": (
        "error_classes:\n  c: {retry: true}\n",
        "p.yaml:2:3: this error class has neither status nor error [empty]",
    ),
    "the class of those for whom there is no place": (
        "error_classes:\n  busy: {error: [timeout]}\n",
        "p.yaml:2:3: busy is the class of calls for which there was no place at the upstream "
        "(choose another name) [bad-name]",
    ),
    "two pauses": (
        KEYS + "error_classes:\n  a: {status: [429], pause: tenant}\n  b: {status: [503], pause: connection}\n",
        "p.yaml:6:29: an earlier error class pauses by 'tenant': all must pause by the same key part [conflicting-keys]",
    ),
    "another pause than the upstream's": (
        KEYS
        + "error_classes:\n  a: {status: [429], pause: tenant}\n"
        + "upstreams:\n  up: {url: 'http://u', learn_limits: {from: RateLimit, scope: connection}}\n",
        "p.yaml:7:64: an error class pauses by 'tenant', this upstream by 'connection' [conflicting-keys]",
    ),
    "a key part of a pause": (
        KEYS + "upstreams:\n  up: {url: 'http://u', learn_limits: {scope: [tenant, x]}}\n",
        "p.yaml:5:56: key part 'x' is not defined (known: connection, tenant) [undefined-name]",
    ),
    "how many is missing": (
        OWN % "window: 1m",
        "p.yaml:5:67: give either remaining or used [missing-key]",
    ),
    "how many in two ways, and how long in none": (
        OWN % "remaining: X-Left, used: X-Used",
        "p.yaml:5:67: give either remaining or used [conflicting-keys]",
        "p.yaml:5:67: give either reset or window [missing-key]",
    ),
    "what bodies say, about nothing": (
        KEYS
        + "upstreams:\n  up: {url: 'http://u', learn_limits: {scope: tenant, also_when: [{status: [], pointer: a, is: []}]}}\n",
        "p.yaml:5:76: must not be empty [empty]",
        "p.yaml:5:89: 'a' is not a JSON pointer (write it like /usage/total_tokens) [bad-pointer]",
        "p.yaml:5:96: must not be empty [empty]",
    ),
    "what bodies say that is neither text nor number": (
        KEYS
        + "upstreams:\n  up: {url: 'http://u', learn_limits: {scope: tenant, also_when: [{status: [403], pointer: /a, is: [true, 1.5]}]}}\n",
        "p.yaml:5:101: expected text or a whole number, got true [wrong-type]",
        "p.yaml:5:107: expected text or a whole number, got the number 1.5 [wrong-type]",
    ),
    "a key part of a pace": (
        "upstreams:\n  up: {url: 'http://u', pace: {rate: 1, per: 1s, key: [x]}}\n",
        "p.yaml:2:56: key part 'x' is not defined [undefined-name]",
    ),
    "a breaker without a threshold": (
        "breakers:\n  b: {key: []}\n",
        "p.yaml:2:3: breaker 'b' never opens: it has no threshold (give it failure_rate, consecutive_failures or slow_call)"
        " [empty]",
    ),
    "a breaker of weeks": (
        "breakers:\n  b: {key: [], consecutive_failures: 1, max_open_for: 7d}\n",
        "p.yaml:2:3: breaker 'b': open_for and max_open_for can be at most 24h [out-of-range]",
    ),
    "a breaker that comes back sooner": (
        "breakers:\n  b: {key: [], consecutive_failures: 1, open_backoff: 0.5}\n",
        "p.yaml:2:55: must be at least 1, got 0.5 [out-of-range]",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_each_mistake_is_said_where_it_stands(name: str, errors_of: Callable[..., list[str]]) -> None:
    text, *expected = BAD[name]
    rest = "routes: [{name: all, upstream: up}]\n"
    if "upstreams:" not in text:
        rest += "upstreams: {up: {url: 'http://u'}}\n"
    assert errors_of(text + rest) == expected


WARNINGS = {
    "one attempt": (
        "retries:\n  r: {attempts: 1}\n",
        "p.yaml:2:17: nothing is tried again: attempts counts the first [never-applies]",
    ),
    "waits that are never used": (
        "retries:\n  r: {attempts: 3, backoff: {schedule: [1s, 2s, 4s]}}\n",
        "p.yaml:2:40: 3 attempts use only 2 of these 3 waits: attempts counts the first [never-applies]",
    ),
    "a first wait that is too long": (
        "retries:\n  r: {attempts: 3, backoff: {schedule: [5s]}, total: 5s}\n",
        "p.yaml:2:54: nothing is tried again: the first wait would end behind total [never-applies]",
    ),
    "a longest wait that is shorter than the first": (
        "retries:\n  r: {attempts: 3, backoff: {base: 2s, max: 1s}}\n",
        "p.yaml:2:45: max is shorter than base, which holds [never-applies]",
    ),
    "statuses that are never retried": (
        "retries:\n  r: {attempts: 3, on_status: [503, 401]}\n",
        "p.yaml:2:37: 401 is never tried again: its error class 'auth_error' says retry: false [never-applies]",
    ),
    "a class behind another": (
        "retries:\n  r: {attempts: 3}\nerror_classes:\n  a: {status: [5xx]}\n  b: {status: [503]}\n",
        "p.yaml:5:3: error class 'b' never applies: those before it match first [never-applies]",
    ),
}


@pytest.mark.parametrize("name", WARNINGS)
def test_what_is_warned_of(name: str, report_of: Check, directory: Path) -> None:
    text, expected = WARNINGS[name]
    report = report_of(text + ROUTE)
    assert report.errors == ()
    assert [str(warning) for warning in report.warnings] == [expected]


def test_what_a_429_says_besides(report_of: Check) -> None:
    said = ", learn_limits: {scope: tenant, also_when: [{status: [%s], pointer: /a, is: b}]}"
    [found] = an_upstream(report_of, said % "429").warnings
    assert str(found) == "p.yaml:5:81: a 429 is taken for one whatever its body says [never-applies]"
    assert an_upstream(report_of, said % "429, 403").warnings == ()


def test_a_bound_of_open_times_that_is_none(report_of: Check) -> None:
    text = (
        KEYS + ROUTE.replace("retry: r", "breaker: b") + "breakers:\n  b: {key: [connection], consecutive_failures: 3, "
    )
    assert report_of(f"{text}open_for: 10m}}\n").warnings == ()
    [found] = report_of(f"{text}open_for: 10m, max_open_for: 5m}}\n").warnings
    assert found.text == "max_open_for is shorter than open_for, which holds"
    assert (found.code, found.line, found.excerpt[found.col - 1 :]) == ("never-applies", text.count("\n") + 1, "5m}")


def test_a_breaker_may_count_by_operation_which_nobody_has_to_define(report_of: Check) -> None:
    text = KEYS + ROUTE.replace("retry: r", "breaker: b")
    report = report_of(text + "breakers:\n  b: {key: [connection, operation], consecutive_failures: 3}\n")
    assert compiled(report).breakers["b"].key == ("connection", "operation")
    assert report.warnings == ()
