"""One file full of odd values: each is refused where it stands, and none hides another."""

from collections.abc import Callable

ODD = """\
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: skip}
upstreams:
  api: {url: "http:///x"}
  b: {url: "http://h:0"}
  c: {url: "http://*.x"}
  d: {url: "unix://x"}
  e: {url: 5}
limits:
  per-tenant: {algorithm: rolling_window, limit: 5, window: 1s, key: [tenant]}
  n: {algorithm: rolling_window, limit: 5, window: 1s, key: [5]}
routes:
  - {name: r, upstream: api, match: {header: {"X Y": a}}, limits: [n]}
  - {name: s, upstream: api, match: {path: '/a%zz'}, limits: [per-tenant], strip_prefix: /}
  - {name: t, upstream: api, operations: [{name: "", entity: "01234567890123456789012345678901234567890123456789012345678901234567890"}]}
  - 5
  - {name: [a], upstream: b}
error_classes: {a: {retry: 1, status: [5XX]}}
retries: {a: {attempts: 21}, b: 7}
"""

SAID = [
    "p.yaml:4:14: 'http:///x' is not a URL of an upstream (write it like https://api.example.com) [bad-url]",
    "p.yaml:5:12: port 0 in 'http://h:0' [bad-url]",
    "p.yaml:6:12: 'http://*.x' does not name a single host [bad-host]",
    "p.yaml:7:12: 'unix://x' names no socket (write it like unix:///run/api.sock) [bad-url]",
    "p.yaml:8:12: expected a URL like https://api.example.com, got the number 5 [wrong-type]",
    "p.yaml:11:62: expected text, got the number 5 (put it in quotes) [wrong-type]",
    "p.yaml:13:47: 'X Y' is not a header name [bad-header-name]",
    "p.yaml:14:44: '/a%zz' is not a path (paths are matched percent-encoded, without a query) [bad-path]",
    "p.yaml:15:50: must not be empty [empty]",
    "p.yaml:15:62: longer than 64 characters [out-of-range]",
    "p.yaml:16:5: expected a mapping, got the number 5 [wrong-type]",
    "p.yaml:17:12: expected text, got a list [wrong-type]",
    "p.yaml:18:28: expected true or false, got the number 1 [wrong-type]",
    "p.yaml:18:40: expected a status like 503 or 5xx, got '5XX' [bad-status]",
    "p.yaml:19:25: must be at most 20, got 21 [out-of-range]",
    "p.yaml:19:33: expected a mapping, got the number 7 [wrong-type]",
]


def test_every_odd_value_is_reported(errors_of: Callable[..., list[str]]) -> None:
    assert errors_of(ODD) == SAID
