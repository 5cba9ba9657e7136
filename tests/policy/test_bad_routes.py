"""Upstreams, routes and whole sets that cannot be meant: exact message and position of each."""

from collections.abc import Callable

import pytest

from tests.policy.whole import BASE, ON, a_route, an_upstream

BAD = {
    "an undefined upstream": (
        a_route("name: r, upstream: ap, limits: [per-tenant]"),
        "p.yaml:8:25: upstream 'ap' is not defined (did you mean 'api'?) [undefined-name]",
    ),
    "cost below zero": (
        a_route(f"name: r, {ON}, operations: [{{name: o, cost: {{per-tenant: -1}}}}]"),
        "p.yaml:8:94: must be at least 0, got -1 [out-of-range]",
    ),
    "a route twice": (
        a_route(f"name: r, {ON}", f"name: r, {ON}, match: {{path_prefix: /a/}}, retry: nix"),
        "p.yaml:9:12: route 'r' is already defined at p.yaml:8 [duplicate-name]",
        "p.yaml:9:86: retry policy 'nix' is not defined [undefined-name]",
    ),
    "a long text for a prefix": (
        a_route(f"name: r, {ON}, match: {{path_prefix: {'x' * 80}}}"),
        f"p.yaml:8:73: the path '{'x' * 60}…' does not begin with / [bad-path]",
    ),
    "equally specific routes": (
        a_route(f"name: a, {ON}, match: {{path: '/x/{{id}}'}}", f"name: b, {ON}, match: {{path: '/x/{{no}}'}}"),
        "p.yaml:9:52: route 'b' and route 'a' (p.yaml:8) match the same calls (make one of them more specific) [ambiguous-route]",
    ),
    "stripping what is not there": (
        a_route(f"name: r, {ON}, match: {{path_prefix: /a/}}, strip_prefix: /b"),
        "p.yaml:8:93: strip_prefix '/b' is not the beginning of every path that this route matches [bad-prefix]",
    ),
    "path and prefix": (
        a_route(f"name: r, {ON}, match: {{path_prefix: /a/, path: /a/b}}"),
        "p.yaml:8:52: give either path or path_prefix, not both [conflicting-keys]",
    ),
    "a regular expression that backtracks": (
        a_route(f"name: r, {ON}, match: {{path: '/(a+)+$'}}"),
        "p.yaml:8:66: '/(a+)+$': paths are not regular expressions (a segment is text, {name}, * or **) [bad-path]",
    ),
    "another one": (
        a_route(f"name: r, {ON}, match: {{path: '/(.*a){{20}}'}}"),
        "p.yaml:8:66: '(.*a){20}' is not a segment (use text, {name}, * or ** as a whole segment) [bad-path]",
    ),
    "a broken regular expression": (
        a_route(f"name: r, {ON}, match: {{path: '/['}}"),
        "p.yaml:8:66: '/[' is not a path (paths are matched percent-encoded, without a query) [bad-path]",
    ),
    "a prefix with dot segments": (
        a_route(f"name: r, {ON}, match: {{path_prefix: /a/../b}}"),
        "p.yaml:8:73: no call matches '/a/../b' (write it without dot segments) [bad-path]",
    ),
    "a pattern with dot segments": (
        a_route(f"name: r, {ON}, match: {{path: /a/./b}}"),
        "p.yaml:8:66: no call matches '/a/./b' (write it without dot segments) [bad-path]",
    ),
    "two stars in the middle": (
        a_route(f"name: r, {ON}, match: {{path: '/**/a'}}"),
        "p.yaml:8:66: ** can only be the last segment of a path [bad-path]",
    ),
    "a parameter twice": (
        a_route(f"name: r, {ON}, match: {{path: '/{{a}}/{{a}}'}}"),
        "p.yaml:8:66: a name stands twice in '/{a}/{a}' [bad-path]",
    ),
    "a wildcard in a prefix": (
        a_route(f"name: r, {ON}, match: {{path_prefix: '/a/*'}}"),
        "p.yaml:8:73: a prefix has no wildcards: '/a/*' (use `path` for patterns) [bad-path]",
    ),
    "a relative path": (
        a_route(f"name: r, {ON}, match: {{path_prefix: a/}}"),
        "p.yaml:8:73: the path 'a/' does not begin with / (write /a/) [bad-path]",
    ),
    "a query in a path": (
        a_route(f"name: r, {ON}, match: {{path: '/a?b=c'}}"),
        "p.yaml:8:66: '/a?b=c' is not a path (paths are matched percent-encoded, without a query) [bad-path]",
    ),
    "a host with a port": (
        a_route(f"name: r, {ON}, match: {{host: 'a.example:80'}}"),
        "p.yaml:8:66: 'a.example:80' is not a host name (no port, no scheme; only the first label may be *) [bad-host]",
    ),
    "not a method": (
        a_route(f"name: r, {ON}, match: {{method: [GET, 'P T']}}"),
        "p.yaml:8:74: 'P T' is not a method [bad-method]",
    ),
    "every method": (
        a_route(f"name: r, {ON}, match: {{method: [GET, '*']}}"),
        "p.yaml:8:74: '*' is not a method (without `method` it is any) [bad-method]",
    ),
    "a header value that is a number": (
        a_route(f"name: r, {ON}, match: {{header: {{X-A: 1}}}}"),
        "p.yaml:8:74: expected text, got the number 1 (put it in quotes) [wrong-type]",
    ),
    "a header twice": (
        a_route(f"name: r, {ON}, match: {{header: {{X-A: a, x-a: b}}}}"),
        "p.yaml:8:60: a header stands twice, spelled with other capitals [duplicate-key]",
    ),
    "a route without a name": (
        a_route(ON),
        "p.yaml:8:5: key 'name' is missing [missing-key]",
    ),
    "a route with an odd name": (
        a_route(f"name: r/s, {ON}"),
        "p.yaml:8:12: 'r/s' is not a name (letters, digits and . _ - only, at most 64) [bad-name]",
    ),
    "routes by name": (
        BASE + "routes:\n  a: {upstream: api}\n",
        "p.yaml:6:3: routes: expected a list of routes (begin each with -) [wrong-type]",
    ),
    "no routes": (
        BASE,
        "p.yaml:1:1: no routes are defined: every call would be answered with 404 [no-routes]",
    ),
    "a foreign scheme": (
        an_upstream("url: 'ftp://x'"),
        "p.yaml:2:14: 'ftp://x' is not a URL of an upstream (write it like https://api.example.com) [bad-url]",
    ),
    "a port too high": (
        an_upstream("url: 'http://x:99999'"),
        "p.yaml:2:14: 'http://x:99999' is not a URL (write it like https://api.example.com) [bad-url]",
    ),
    "credentials in a URL": (
        an_upstream("url: 'https://user:hunter2@x'"),
        "p.yaml:2:14: a URL of an upstream holds no user or password (remove everything up to the @) [inline-secret]",
    ),
    "a query in a URL": (
        an_upstream("url: 'https://x/?token=hunter2'"),
        "p.yaml:2:14: a URL of an upstream has no query and no fragment (end it with the path) [inline-secret]",
    ),
    "unknown timeout": (
        an_upstream("url: 'http://x', timeouts: {conect: 1s, total: never}"),
        "p.yaml:2:37: unknown key 'conect' (did you mean 'connect'?) [unknown-key]",
        "p.yaml:2:56: 'never' is not a duration (write it like 30s or 10m) [bad-duration]",
    ),
    "half of a certificate": (
        an_upstream("url: 'https://x', tls: {key: k.pem}"),
        "p.yaml:2:27: tls needs both certificate and key, or neither [missing-key]",
    ),
    "undefined breaker and retry": (
        BASE + "routes: [{name: r, upstream: api, breaker: x, retry: y}]\n",
        "p.yaml:5:44: breaker 'x' is not defined [undefined-name]",
        "p.yaml:5:54: retry policy 'y' is not defined [undefined-name]",
    ),
    "numbers of a retry policy": (
        BASE
        + "retries:\n  s: {attempts: 0, on_status: [429, 6xx, 99], backoff: {schedule: [], jitter: 200%}}\nroutes: [{name: r, upstream: api, retry: s}]\n",
        "p.yaml:6:17: must be at least 1, got 0 [out-of-range]",
        "p.yaml:6:37: expected a status like 503 or 5xx, got '6xx' [bad-status]",
        "p.yaml:6:42: expected a status like 503 or 5xx, got the number 99 [bad-status]",
        "p.yaml:6:67: must not be empty [empty]",
        "p.yaml:6:79: a percentage must be more than 0% and at most 100%, got '200%' [out-of-range]",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_each_mistake_is_said_where_it_stands(name: str, errors_of: Callable[..., list[str]]) -> None:
    text, *expected = BAD[name]
    assert errors_of(text) == expected
