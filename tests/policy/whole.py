"""Whole policy files around the one thing that a test is about, so that every position in them is easy to see."""

BASE = """\
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: skip}
upstreams:
  api: {url: "builtin:echo"}
"""
ROUTE = """\
routes:
  - {name: all, upstream: api, limits: [per-tenant]}
"""
LIMIT = "algorithm: rolling_window, limit: 5, window: 1s, key: [tenant]"
ON = "upstream: api, limits: [per-tenant]"


def a_limit(text: str) -> str:
    """A whole file with one limit, on line 6, its text from column 16 on."""
    return f"{BASE}limits:\n  per-tenant: {{{text}}}\n{ROUTE}"


def a_key(text: str) -> str:
    """A whole file whose key part, on line 2, says this from column 12 on."""
    limit = "limits:\n  per-tenant: {algorithm: concurrency, limit: 1, key: [tenant]}\n"
    return f"keys:\n  tenant: {{{text}}}\nupstreams:\n  api: {{url: 'builtin:echo'}}\n{limit}{ROUTE}"


def a_route(*texts: str) -> str:
    """A whole file with these routes, from line 8 on, their text from column 6 on."""
    return f"{BASE}limits:\n  per-tenant: {{{LIMIT}}}\nroutes:\n" + "".join(f"  - {{{text}}}\n" for text in texts)


def an_upstream(text: str) -> str:
    """A whole file with one upstream, on line 2, its text from column 9 on."""
    return f"upstreams:\n  api: {{{text}}}\nroutes:\n  - {{name: all, upstream: api}}\n"
