"""Answers that are kept: whose they are, how long they live, and what a call that is answered from them costs."""

import asyncio
from pathlib import Path

import pytest

from tests.app.caching import Cached, answer, begin
from tests.app.conftest import Start
from tests.fakes.upstream import Received, Socket, Upstream


@pytest.fixture
async def cached(start: Start, upstream: Upstream) -> Cached:
    return await begin(start, upstream)


async def test_the_second_call_is_a_hit_that_asks_no_limit_and_no_upstream(cached: Cached) -> None:
    cached.answers(answer(b"one", "Cache-Control: max-age=60", "X-RateLimit-Remaining: 7"))
    first = await cached.get("/things")
    cached.later(7)
    second = await cached.get("/things")
    assert (first.status, first.body, first.fields("Cache-Status")) == (200, b"one", ["gw-test; fwd=uri-miss; stored"])
    assert (second.status, second.body) == (200, b"one")
    assert second.fields("Cache-Status") == ["gw-test; hit; ttl=53"]
    assert second.fields("Age") == ["7"]
    assert first.fields("RateLimit") != [] == second.fields("RateLimit") == second.fields("X-RateLimit-Remaining")
    assert len(cached.upstream.received) == 1
    miss, hit = await cached.running.records.wait(2)
    assert (miss.cache, miss.response_source, hit.cache, hit.response_source) == ("miss", "upstream", "hit", "cache")
    assert (miss.verdict, hit.verdict, hit.store, hit.upstream_status) == ("allowed", "unlimited", "none", 0)


async def test_tenants_never_share_an_answer(cached: Cached) -> None:
    async def script(got: Received, _socket: Socket) -> bytes:
        return answer(got.fields("X-Tenant-Id")[0].encode())

    cached.upstream.script = script
    for _ in range(2):
        for tenant in ("a", "b", "A", "a b"):
            got = await cached.get("/things", ("X-Tenant-Id", tenant))
            assert got.body == tenant.encode()
    assert len(cached.upstream.received) == 4


async def test_a_caller_without_a_tenant_uses_no_cache(cached: Cached) -> None:
    for _ in range(2):
        got = await cached.get("/things", tenant=None)
        assert got.fields("Cache-Status") == ["gw-test; fwd=bypass"]
    assert len(cached.upstream.received) == 2


KEYS = ("X-Api-Key", "X-Auth-Token", "Api-Key", "Ocp-Apim-Subscription-Key", "X-Access-Token", "Proxy-Authorization")


async def whose(got: Received, _socket: Socket) -> bytes:
    """An answer that is for who asks, from an upstream that does not say so."""
    said = [value for name in (*KEYS, "Authorization", "Cookie") for value in got.fields(name)]
    return answer(f"for {''.join(said)} {got.target}".encode(), "Cache-Control: max-age=60")


@pytest.mark.parametrize("name", KEYS)
async def test_callers_with_keys_of_their_own_never_share_an_answer(cached: Cached, name: str) -> None:
    cached.upstream.script = whose
    for value in ("one", "two", "one"):
        got = await cached.get("/things", (name, value))
        assert got.fields("Cache-Status") == ["gw-test; fwd=uri-miss"]
        assert name == "Proxy-Authorization" or got.body == f"for {value} /things".encode()
    assert (await cached.get("/things")).body == b"for  /things"
    assert (await cached.get("/things")).fields("Cache-Status")[0].startswith("gw-test; hit")
    assert len(cached.upstream.received) == 4


async def test_what_is_kept_for_everybody_is_not_for_callers_with_keys(cached: Cached) -> None:
    cached.upstream.script = whose
    for fields in ((), (("X-Api-Key", "one"),), (("X-Api-Key", "one"), ("X-Auth-Token", "two")), (("Cookie", "c"),)):
        said = "".join(value for _, value in fields)
        assert (await cached.get("/things", *fields)).body == f"for {said} /things".encode()
    assert len(cached.upstream.received) == 4


async def test_keys_in_the_query_are_part_of_what_is_asked_for(cached: Cached) -> None:
    cached.upstream.script = whose
    for key in ("one", "two", "one"):
        assert (await cached.get(f"/things?api_key={key}")).body == f"for  /things?api_key={key}".encode()
    assert len(cached.upstream.received) == 2


@pytest.mark.parametrize(
    ("said", "calls"), [("max-age=60, public", 1), ("s-maxage=60", 1), ("max-age=60, must-revalidate", 2)]
)
async def test_answers_to_callers_with_keys_are_shared_if_they_say_so(cached: Cached, said: str, calls: int) -> None:
    cached.answers(answer(b"x", f"Cache-Control: {said}"))
    for value in ("one", "two"):
        await cached.get("/things", ("X-Api-Key", value))
    assert len(cached.upstream.received) == calls


async def test_a_policy_says_which_field_is_nobodys_own_or_keeps_answers_by_its_value(
    start: Start, upstream: Upstream
) -> None:
    for more, calls in (
        ("impersonal_headers: [X-Api-Key]", 1),
        ("vary_headers: [X-Api-Key]", 2),
        ("per_credential: true", 2),
        ("", 4),
    ):
        cached = await begin(start, upstream, more=more)
        upstream.received.clear()
        upstream.script = whose
        for value in ("one", "two", "one", "two"):
            await cached.get("/things", ("X-Api-Key", value))
        assert len(upstream.received) == calls, more


async def test_callers_share_where_the_policy_says_so(start: Start, upstream: Upstream) -> None:
    cached = await begin(start, upstream, vary_by="[]")
    cached.answers(answer(b"for all"))
    for tenant in ("a", "b", None):
        assert (await cached.get("/things", tenant=tenant)).body == b"for all"
    assert len(upstream.received) == 1


async def test_the_policys_ttl_is_for_answers_that_do_not_say(cached: Cached) -> None:
    cached.answers(answer(b"x"))
    await cached.get("/things")
    cached.later(299)
    assert (await cached.get("/things")).fields("Cache-Status") == ["gw-test; hit; ttl=1"]
    cached.later(1)
    assert (await cached.get("/things")).fields("Cache-Status") == ["gw-test; fwd=stale; stored"]


async def test_what_an_answer_says_comes_first_unless_the_policy_overrides_it(start: Start, upstream: Upstream) -> None:
    for more, calls in (("", 2), ("override: true", 1)):
        cached = await begin(start, upstream, more=more)
        upstream.received.clear()
        cached.answers(answer(b"x", "Cache-Control: max-age=1, no-cache"))
        await cached.get("/things")
        cached.later(2)
        await cached.get("/things")
        assert len(upstream.received) == calls, more


@pytest.mark.parametrize("said", ["no-store", "private", "no-store, max-age=60", 'private="x-y", max-age=60'])
async def test_an_override_is_not_above_what_forbids_to_keep(start: Start, upstream: Upstream, said: str) -> None:
    cached = await begin(start, upstream, more="override: true")
    cached.answers(answer(b"x", f"Cache-Control: {said}"))
    await cached.get("/things")
    await cached.get("/things")
    assert len(upstream.received) == 2


async def test_only_the_paths_of_the_policy_are_kept(cached: Cached) -> None:
    cached.answers(answer(b"x", "Cache-Control: max-age=60, public"))
    for path in ("/other", "/things/1.css", "/things/", "/things;a=1", "/things%2F", "/thing%73", "/users/1/2"):
        for _ in range(2):
            got = await cached.get(path)
            assert got.fields("Cache-Status") == ["gw-test; fwd=bypass"], path
    assert len(cached.upstream.received) == 14


async def test_a_stale_answer_is_validated(cached: Cached) -> None:
    cached.answers(
        answer(b"x", 'ETag: "1"', "Last-Modified: Mon, 02 Jan 2006 15:04:05 GMT", "Cache-Control: max-age=5")
    )
    await cached.get("/things")
    cached.later(6)
    cached.answers(b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\nCache-Control: max-age=9\r\nX-New: yes\r\n\r\n')
    got = await cached.get("/things")
    asked = cached.upstream.received[-1]
    assert asked.fields("If-None-Match") == ['"1"']
    assert asked.fields("If-Modified-Since") == ["Mon, 02 Jan 2006 15:04:05 GMT"]
    assert (got.status, got.body, got.fields("X-New")) == (200, b"x", ["yes"])
    assert got.fields("Cache-Status") == ["gw-test; fwd=stale; fwd-status=304; stored; ttl=9"]
    assert got.fields("RateLimit") != []
    cached.later(8)
    assert (await cached.get("/things")).fields("Cache-Status") == ["gw-test; hit; ttl=1"]
    records = await cached.running.records.wait(3)
    assert [(one.cache, one.upstream_status) for one in records] == [("miss", 200), ("validated", 304), ("hit", 0)]


async def test_callers_conditions_are_answered_from_what_is_kept(cached: Cached) -> None:
    cached.answers(answer(b"x", 'ETag: W/"1"', "Cache-Control: max-age=60", "X-Y: z"))
    first = await cached.get("/things", ("If-None-Match", '"0"'))
    assert first.status == 200
    got = await cached.get("/things", ("If-None-Match", '"0", "1"'))
    assert (got.status, got.body, got.fields("ETag"), got.fields("X-Y")) == (304, b"", ['W/"1"'], [])
    assert (await cached.get("/things", ("If-None-Match", "*"))).status == 304
    assert (await cached.get("/things", ("If-None-Match", '"2"'))).status == 200
    assert len(cached.upstream.received) == 1
    assert cached.upstream.received[0].fields("If-None-Match") == []


async def test_conditions_pass_where_nothing_is_kept_anyway(cached: Cached) -> None:
    cached.answers(answer(b"x", 'ETag: "1"', "Cache-Control: no-store"))
    await cached.get("/things")
    cached.answers(b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\n\r\n')
    got = await cached.get("/things", ("If-None-Match", '"1"'))
    assert (got.status, cached.upstream.received[-1].fields("If-None-Match")) == (304, ['"1"'])


async def test_head_is_answered_from_a_get_and_never_fills(cached: Cached) -> None:
    cached.answers(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n")
    assert (await cached.get("/things", method="HEAD")).fields("Cache-Status") == ["gw-test; fwd=uri-miss"]
    cached.answers(answer(b"abc"))
    await cached.get("/things")
    got = await cached.get("/things", method="HEAD")
    assert (got.body, got.fields("Content-Length")) == (b"", ["3"])
    assert [one.method for one in cached.upstream.received] == ["HEAD", "GET"]


@pytest.mark.parametrize("status", [200, 201, 204, 303, 404])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "PURGE"])
async def test_an_unsafe_call_makes_what_is_kept_wrong(cached: Cached, method: str, status: int) -> None:
    cached.answers(answer(b"old"))
    await cached.get("/things")
    cached.answers(b"HTTP/1.1 %d Said\r\n%b\r\n" % (status, b"" if status == 204 else b"Content-Length: 0\r\n"))
    changed = await cached.get("/things", method=method, tenant="another")
    assert changed.fields("Cache-Status") == ["gw-test; fwd=method"]
    cached.answers(answer(b"new"))
    assert (await cached.get("/things")).body == (b"new" if status < 400 else b"old")


async def test_the_location_of_an_answer_is_changed_too(cached: Cached) -> None:
    cached.answers(answer(b"old"))
    for path in ("/things", "/users/7", "/users/8"):
        await cached.get(path)
    cached.answers(
        b"HTTP/1.1 201 Made\r\nLocation: /users/7\r\nContent-Location: %s/users/8\r\nContent-Length: 0\r\n\r\n"
        % cached.upstream.url.encode()
    )
    await cached.get("/elsewhere", method="POST")
    cached.answers(answer(b"new"))
    assert [(await cached.get(path)).body for path in ("/things", "/users/7", "/users/8")] == [b"old", b"new", b"new"]


async def test_a_call_of_another_route_to_the_same_upstream_counts_too(cached: Cached) -> None:
    cached.answers(answer(b"old"))
    await cached.get("/things")
    cached.answers(answer(b"done"))
    done = await cached.get("/write/things", method="PUT")
    assert (done.fields("Cache-Status"), cached.upstream.received[-1].target) == ([], "/things")
    cached.answers(answer(b"new"))
    assert (await cached.get("/things")).body == b"new"


async def test_an_answer_asked_for_before_a_change_is_not_kept(cached: Cached) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow(got: Received, _socket: Socket) -> bytes:
        if got.method == "GET":
            asked.set()
            await go_on.wait()
        return answer(b"old")

    cached.upstream.script = slow
    reading = asyncio.create_task(cached.get("/things"))
    await asked.wait()
    await cached.get("/things", method="POST")
    go_on.set()
    assert (await reading).body == b"old"
    cached.answers(answer(b"new"))
    assert (await cached.get("/things")).body == b"new"


SANDBOX = """
version: 1
keys:
  tenant: {from: header, name: X-Tenant-Id, on_missing: skip}
upstreams:
  up: {url: "%(url)s"}
routes:
  - name: all
    match: {path_prefix: /}
    upstream: up
    modules:
      cache: {match: {path: /things}, vary_by: [tenant], ttl: 5m, store: local}
      sandbox: {when: {header: X-Sandbox, prefix: "yes"}, fixtures: "%(fixtures)s"}
"""


async def test_the_sandbox_and_the_cache_know_nothing_of_each_other(
    start: Start, upstream: Upstream, tmp_path: Path
) -> None:
    fixtures = tmp_path / "fixtures"
    fixtures.mkdir()
    (fixtures / "fixtures.yaml").write_text(
        "answers:\n  - {match: {path: /things}, status: 200, body: {sample: true}}\n"
    )
    cached = Cached(await start(SANDBOX % {"url": upstream.url, "fixtures": fixtures}), upstream)
    cached.answers(answer(b"real"))
    sandboxed = ("X-Sandbox", "yes")
    for fields, expected in (((sandboxed,), b"sample"), ((), b"real"), ((sandboxed,), b"sample"), ((), b"real")):
        assert expected in (await cached.get("/things", *fields)).body
    await cached.get("/things", sandboxed, method="POST")
    assert (await cached.get("/things")).fields("Cache-Status")[0].startswith("gw-test; hit")
    assert len(upstream.received) == 1
