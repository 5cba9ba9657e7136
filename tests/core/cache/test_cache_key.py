"""Which requests share an answer, and which never come near the cache."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.core.access.credentials import Credential
from gateway.core.ask import Ask
from gateway.core.cache.key import MAX_VARY, also_changed, reads, storable_by, told, variant, vary
from gateway.core.caller import ask_for
from gateway.core.keys import KeyFrom, KeyPart, OnMissing
from gateway.core.policy import Match, PolicySet, Route
from gateway.core.upstream import Upstream
from tests.core.cache.cache_cases import a_cache, fields


def head(*lines: str, method: str = "GET", body: bool = False, upgrade: str = "") -> Any:
    return SimpleNamespace(method=method, fields=fields(*lines), has_body=body, upgrade=upgrade)


@pytest.mark.parametrize(
    ("path", "may"),
    [
        ("/a", True), ("/b/1", True), ("/b/x.css", True),
        ("/", False), ("/a/", False), ("/A", False), ("/b", False), ("/b/", False), ("/b/1/2", False), ("/a.css", False),
        ("/a;x", False), ("/a%2f", False), ("/b/%61", False), ("//a", False), ("/./a", False), ("/b/..", False), ("/b/\\", False),
    ],
)  # fmt: skip
def test_only_paths_that_can_be_read_in_one_way(path: str, may: bool) -> None:
    assert reads(a_cache(), head(), path) is may


@pytest.mark.parametrize(
    ("request_head", "may"),
    [
        (head(), True),
        (head(method="HEAD"), True),
        (head("Range: bytes=0-1"), True),
        (head("X-Forwarded-Host: a", "Forwarded: host=a", "X-Real-IP: 1.1.1.1"), True),  # the gateway's own to write
        (head("X-Requested-With: a", "X-Correlation-Id: b"), True),
        (head("Connection: close"), True),
        (head("Connection: keep-alive, TE", "Connection: Authorization"), True),  # which it cannot remove
        (head("Connection: close, accept-language", "Accept-Language: de"), False),
        (head("Connection: close", "Connection: X-Region", "X-Region: a"), False),
        (head(method="POST"), False),
        (head(method="get"), False),
        (head(body=True), False),
        (head(upgrade="websocket"), False),
        *[
            (head(f"{name}: a"), False)
            for name in (
                "If-Match", "If-Unmodified-Since", "Expect", "X-HTTP-Method-Override", "X-Method-Override", "X-Original-URL",
                "X-Rewrite-URL", "X-Forwarded-Scheme", "X-Forwarded-Server", "X-Forwarded-Prefix", "X-Host", "x_forwarded_host",
                "X_Original_URL", "X-Forwarded-SSL", "X-Forwarded-Path", "X-Backend-Host",
            )
        ],
    ],
)  # fmt: skip
def test_only_requests_that_ask_for_what_they_seem_to(request_head: Any, may: bool) -> None:
    assert reads(a_cache(), request_head, "/a") is may


def test_what_proxies_say_of_host_and_scheme_counts_and_who_calls_does_not() -> None:
    one = told(
        fields("Forwarded: for=1.1.1.1;host=A;proto=https", "X-Forwarded-For: 1.1.1.1", "X-Forwarded-Proto: https")
    )
    other = told(
        fields("forwarded: for=2.2.2.2; HOST=a ;proto=https", "X-Forwarded-For: 2.2.2.2", "X-Forwarded-Proto: https")
    )
    assert len(one) == len(other) == 3
    assert one[0].strip() == other[0].strip() == b"host=a"
    assert told(fields("X-Forwarded-Host: a")) != told(fields("X-Forwarded-Host: b")) != ()
    assert told(fields("X-Real-IP: 1.1.1.1", "Accept: a")) == ()


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        ([], ()),
        (["Vary: "], ()),
        (["Vary: B, a", "vary: b"], (b"a", b"b")),
        (["Vary: *"], None),
        (["Vary: a, *"], None),
        (["Vary: a", "Vary: *"], None),
        *[([f"Vary: {name}"], None) for name in ("Host", "X-Forwarded-For", "Via", "X-Request-Id", "Forwarded", "Connection")],
        (["Vary: " + ", ".join(f"x{number}" for number in range(MAX_VARY))], tuple(sorted(b"x%d" % n for n in range(MAX_VARY)))),
        (["Vary: " + ", ".join(f"x{number}" for number in range(MAX_VARY + 1))], None),
    ],
)  # fmt: skip
def test_vary(lines: list[str], named: tuple[bytes, ...] | None) -> None:
    assert vary(fields(*lines)) == named


def test_storable_by() -> None:
    assert storable_by(a_cache(), (), 200, fields("Cache-Control: max-age=1", "Vary: a")) == (b"a",)
    assert storable_by(a_cache(), (), 200, fields("Vary: a")) is None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ([], [], True),
        (["X-A: 1"], ["X-A: 2"], False),
        (["X-A: 1"], [], False),
        (["X-A: "], [], False),
        (["X-A: 1", "X-A: 2"], ["x-a: 1,2"], True),
        (["X-A: 1 ,\t2"], ["X-A: 1, 2"], True),
        (["X-A: 1, 2"], ["X-A: 2, 1"], False),
        (["X-B: 1"], ["X-B: 2"], True),
        (["Accept: a"], ["Accept: b"], False),
        (["Accept-Language: a"], ["Accept-Language: b"], False),
        (["Accept-Encoding: a"], [], False),
        (["X-Own: a"], ["X-Own: b"], False),
        (["Authorization: a"], ["Authorization: b"], True),
        (["Authorization: a"], [], False),
        (["Cookie: a"], [], False),
        (["X-Api-Key: a"], ["X-Api-Key: b"], True),
        (["X-Api-Key: a"], [], False),
        (["X-Api-Key: a"], ["X-Auth-Token: a"], False),
        (["X-Api-Key: a", "Api-Token: a"], ["Api-Token: a", "X-Api-Key: a"], True),
    ],
)
def test_variants(one: list[str], other: list[str], same: bool) -> None:
    cache = a_cache(vary_headers=(b"x-own",))
    assert (variant(cache, fields(*one), (b"x-a",)) == variant(cache, fields(*other), (b"x-a",))) is same


def test_variants_by_credential() -> None:
    cache = a_cache(per_credential=True)
    assert variant(cache, fields("Authorization: a"), ()) != variant(cache, fields("Authorization: b"), ())
    assert variant(cache, fields("Cookie: a"), ()) != variant(cache, fields("Cookie: b"), ())
    assert variant(cache, fields("Cookie: a"), ()) == variant(cache, fields("Cookie: a"), ())
    assert variant(cache, fields("X-Api-Key: a"), ()) != variant(cache, fields("X-Api-Key: b"), ())


@pytest.mark.parametrize(
    ("lines", "targets"),
    [
        ([], []),
        (["Location: /x"], ["/x"]),
        (["Location: http://API.example/x?y=1#z"], ["/x?y=1"]),
        (["Location: //api.example/x"], ["/x"]),
        (["Location: c"], ["/a/c"]),
        (["Location: ../c", "Content-Location: /d"], ["/c", "/d"]),
        (["Location: http://other.example/x"], []),
        (["Location: http://[/x"], []),
        (["Location: http://api.example"], []),
        (["Location: mailto:a@b"], []),
    ],
)
def test_what_else_has_changed(lines: list[str], targets: list[str]) -> None:
    assert [*also_changed("/a/b?q", "api.example", fields(*lines))] == targets


SHARED = PolicySet(
    "v", (), {}, {"tenant": KeyPart("tenant", KeyFrom.HEADER, "x-tenant-id", OnMissing.SKIP)}, {}
)  # fmt: skip


def shelf(tenant: str | None, *, credentials: tuple[Credential, ...] = (), cache: bool = True) -> str | None:
    upstream = Upstream("up", "http", "h", 80, "h", credentials=credentials, credentials_optional=True)
    route = Route("all", Match(), upstream, keys=tuple(SHARED.keys.values()), cache=a_cache() if cache else None)
    asked = ask_for(replace(SHARED, routes=(route,)), route, None, {"tenant": tenant})
    assert isinstance(asked, Ask)
    assert asked.cached is cache
    return asked.shelf


def test_whose_answers_a_caller_may_get() -> None:
    """Those of the same tenant, got with the same credentials of ours."""
    one = Credential("one", "up", (("tenant", "a"),), "X-Key")
    assert shelf("a") == shelf("a") != shelf("b")
    assert shelf(None) is None
    assert shelf("a", cache=False) is None
    assert (
        shelf("a", credentials=(one,))
        != shelf("a")
        == shelf("a", credentials=(replace(one, match=(("tenant", "b"),)),))
    )
