"""What an upstream asks of one caller holds for all of the same connection, and for nobody else."""

import pytest

from gateway.core.guards import State
from gateway.core.retry import Stop
from gateway.observe.reports.whose import whose
from tests.app.conftest import Start
from tests.app.pausing import Slow, after_one, retry_after
from tests.fakes.upstream import OK, Upstream, always
from tests.fakes.waiting import eventually

POLICIES = """
version: 1
keys:
  connection: {from: header, name: X-Connection-Id, on_missing: skip}
limits:
  connection-1m: {algorithm: rolling_window, limit: 5000, window: 1m, key: [connection]}
  attempts-10s: {algorithm: fixed_window, limit: 1, window: 10s, key: [], charge: per_attempt}
breakers:
  connection: {key: [connection], consecutive_failures: 3, open_for: 30s}
  own: {key: [connection], consecutive_failures: 1, open_for: 1s, scope: local}
retries:
  standard: {attempts: 5, backoff: {schedule: [1s, 2s, 4s, 8s]}}
upstreams:
  up: {url: "%s", learn_limits: {from: [Retry-After, RateLimit, X-RateLimit-Reset], scope: connection, max: 1m}}
routes:
  - {name: plain, match: {path_prefix: /plain/}, upstream: up, limits: [connection-1m]}
  - {name: tried, match: {path_prefix: /tried/}, upstream: up, limits: [connection-1m], retry: standard, breaker: connection}
  - {name: once, match: {path_prefix: /once/}, upstream: up, limits: [attempts-10s], retry: standard, breaker: own}
"""
LATER = b"HTTP/1.1 429 Later\r\nRetry-After: %d\r\nContent-Length: 0\r\n\r\n"
DOWN = b"HTTP/1.1 503 Down\r\nContent-Length: 4\r\n\r\ndown"


@pytest.fixture
async def slow(start: Start, upstream: Upstream) -> Slow:
    running = await start(POLICIES % upstream.url)
    await running.gateway.store.close()
    return Slow(running, upstream)


async def test_a_429_pauses_its_connection_and_no_other(slow: Slow) -> None:
    slow.upstream.script = always(LATER % 30)
    status, answer, record = await slow.call()
    assert (status, retry_after(answer), record.response_source) == (429, 30, "upstream")
    assert record.upstream_retry_after_s == 30
    slow.upstream.script = always(OK)
    slow.now_us += 10_000_000
    status, answer, record = await slow.call()
    assert (status, retry_after(answer), record.response_source) == (429, 20, "pause")
    assert b'"code":"UPSTREAM_RATE_LIMITED"' in answer
    assert [(await slow.call(connection=other))[0] for other in ("c2", "")] == [200, 200]
    assert len(slow.upstream.received) == 3
    assert slow.began == [("up", 30)]


async def test_whose_pause_or_breaker_it_is_is_told_as_the_call_says_it(slow: Slow) -> None:
    told: list[dict[str, str]] = []
    slow.running.gateway.pauses.on_pause = lambda guard, _for_us: told.append(whose(guard))
    slow.running.gateway.breakers.on_change = lambda guard, _change: told.append(whose(guard))
    slow.upstream.script = always(LATER % 30)
    await slow.call(connection="acme/hubspot")
    slow.upstream.script = always(DOWN)
    await slow.call("once", connection="acme/crm")
    await eventually(lambda: len(told) > 1)
    assert {one["connection"] for one in told} == {"acme/hubspot", "acme/crm"}


async def test_what_is_left_alone_may_be_known_by_several_key_parts(start: Start, upstream: Upstream) -> None:
    """Slack counts by workspace and method: one value of either is more than it asked for."""
    policies = (POLICIES % upstream.url).replace("scope: connection", "scope: [connection, method]", 1)
    policies = policies.replace("keys:\n", "keys:\n  method: {from: path, name: method, on_missing: skip}\n", 1)
    running = await start(policies.replace("{path_prefix: /plain/}", "{path: '/{method}/x'}"))
    await running.gateway.store.close()
    slow = Slow(running, upstream)
    upstream.script = always(LATER % 30)
    await slow.call("post", "c1")
    upstream.script = always(OK)
    others = [("post", "c1"), ("list", "c1"), ("post", "c2")]
    assert [(await slow.call(method, who))[0] for method, who in others] == [429, 200, 200]


async def test_an_upstream_as_a_whole_is_left_alone_if_the_policy_says_everybody(
    start: Start, upstream: Upstream
) -> None:
    running = await start((POLICIES % upstream.url).replace("scope: connection", "scope: everybody"))
    await running.gateway.store.close()
    slow = Slow(running, upstream)
    upstream.script = always(LATER % 30)
    assert (await slow.call())[2].response_source == "upstream"
    upstream.script = always(OK)
    for connection in ("c1", "c2", ""):
        status, answer, record = await slow.call(connection=connection)
        assert (status, retry_after(answer), record.response_source) == (429, 30, "pause")
    slow.now_us += 30_000_000
    assert (await slow.call(connection="c2"))[0] == 200


async def test_a_thousand_callers_wait_until_the_time_and_not_longer(slow: Slow) -> None:
    slow.upstream.script = always(LATER % 30)
    await slow.call()
    slow.upstream.script = always(OK)
    request = b"GET /plain/x HTTP/1.1\r\nHost: gw\r\nX-Connection-Id: c1\r\n\r\n"
    slow.now_us += 29_999_999
    answers = await slow.running.raw(request * 999 + request.replace(b"Host", b"Connection: close\r\nHost"))
    assert (answers.count(b"HTTP/1.1 429 "), answers.count(b"\r\nRetry-After: 1\r\n")) == (1000, 1000)
    assert len(slow.upstream.received) == 1
    slow.now_us += 1
    assert (await slow.call())[0] == 200


async def test_a_success_that_says_nothing_is_left_pauses_too(slow: Slow) -> None:
    slow.upstream.script = always(
        b"HTTP/1.1 200 OK\r\nX-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: 7\r\nContent-Length: 0\r\n\r\n"
    )
    assert (await slow.call())[0] == 200
    status, answer, _ = await slow.call()
    assert (status, retry_after(answer)) == (429, 7)


async def test_no_pause_is_longer_than_the_policy_allows(slow: Slow) -> None:
    slow.upstream.script = always(LATER % 86400)
    await slow.call()
    assert retry_after((await slow.call())[1]) == 60


async def test_other_errors_pause_nothing(slow: Slow) -> None:
    slow.upstream.script = always(b"HTTP/1.1 503 Down\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n")
    assert [(await slow.call())[0] for _ in range(2)] == [503, 503]
    assert slow.began == []


FORBIDDEN = b"HTTP/1.1 403 No\r\n%sContent-Length: 0\r\n\r\n"


class TestOtherWordsForTooMany:
    @pytest.fixture
    async def slow(self, start: Start, upstream: Upstream) -> Slow:
        """A gateway that takes 403 for 429 where it asks to wait."""
        more = "scope: connection, also_on: [403], otherwise: 20s"
        running = await start((POLICIES % upstream.url).replace("scope: connection", more, 1))
        await running.gateway.store.close()
        return Slow(running, upstream)

    @pytest.mark.parametrize("asks", [b"Retry-After: 7\r\n", b"X-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: 7\r\n"])
    async def test_a_403_that_asks_to_wait_is_what_a_429_is(self, slow: Slow, asks: bytes) -> None:
        slow.upstream.script = always(FORBIDDEN % asks)
        status, _, record = await slow.call()
        assert (status, record.error_class, slow.began) == (403, "rate_limited", [("up", 7)])
        assert (record.upstream_status, record.judged_status) == (403, 429)
        status, answer, record = await slow.call()
        assert (status, retry_after(answer), record.response_source) == (429, 7, "pause")
        slow.now_us += 7_000_000
        slow.upstream.script = after_one(FORBIDDEN % asks)
        status, _, record = await slow.call("tried")
        assert (status, record.retry_wait_s) == (200, 7)
        assert record.attempts is not None
        assert [one.get("error_class") for one in record.attempts] == ["rate_limited", None]

    async def test_any_other_403_is_about_permissions(self, slow: Slow) -> None:
        slow.upstream.script = always(FORBIDDEN % b"X-RateLimit-Remaining: 4990\r\nX-RateLimit-Reset: 600\r\n")
        status, _, record = await slow.call("tried")
        assert (status, record.error_class, record.attempts) == (403, "auth_error", None)
        assert record.judged_status == 403
        assert (slow.began, len(slow.upstream.received)) == ([], 1)

    async def test_a_429_that_says_no_time_pauses_as_long_as_the_policy_says(self, slow: Slow) -> None:
        slow.upstream.script = always(b"HTTP/1.1 429 Later\r\nContent-Length: 0\r\n\r\n")
        await slow.call()
        assert (retry_after((await slow.call())[1]), slow.began) == (20, [("up", 20)])


class TestWithRetries:
    async def test_the_call_that_was_asked_to_wait_goes_on_when_the_pause_ends(self, slow: Slow) -> None:
        slow.upstream.script = after_one(LATER % 7)
        status, _, record = await slow.call("tried")
        assert (status, record.retry_wait_s, slow.began) == (200, 7, [("up", 7)])

    @pytest.mark.parametrize(("times", "status", "waited_s"), [(1, 200, 12), (2, 429, 12)])
    async def test_a_pause_that_became_longer_meanwhile_is_waited_for_once(
        self, slow: Slow, times: int, status: int, waited_s: int
    ) -> None:
        slow.upstream.script = after_one(LATER % 7)
        sleep, left = slow.sleep, [times]

        async def lengthen(seconds: float) -> None:
            await sleep(seconds)
            (caller,) = slow.running.gateway.callers._remembered.young.values()
            if left[0]:
                left[0] -= 1
                await slow.running.gateway.store.pause(caller.guards[0], 5_000_000)

        slow.running.gateway.sleep = lengthen
        answered, _, record = await slow.call("tried")
        assert (answered, record.retry_wait_s) == (status, waited_s)
        assert slow.stops == ([Stop.UPSTREAM_WAIT] if times == 2 else [])

    async def test_the_breaker_hears_of_every_attempt_and_is_asked_before_each(self, slow: Slow) -> None:
        slow.upstream.script = always(DOWN)
        status, answer, record = await slow.call("tried")
        assert (status, answer[-4:], len(slow.upstream.received)) == (503, b"down", 3)
        assert (slow.stops, record.response_source) == ([Stop.BREAKER], "upstream")
        status, answer, record = await slow.call("tried")
        assert (status, record.response_source, len(slow.upstream.received)) == (503, "breaker", 3)

    async def test_a_probe_that_fails_is_not_repeated(self, slow: Slow) -> None:
        slow.upstream.script = always(DOWN)
        await slow.call("tried")
        slow.now_us += 30_000_000
        await slow.call("tried")
        assert len(slow.upstream.received) == 4

    async def test_a_probe_that_a_limit_refuses_gives_its_permit_back(self, slow: Slow) -> None:
        """The back-off outlasts the open breaker; the further attempt would be its probe, but may not be sent."""
        changes: list[State] = []
        slow.running.gateway.breakers.on_change = lambda _guard, change: changes.append(change.state)
        slow.upstream.script = always(DOWN)
        assert (await slow.call("once"))[0] == 503
        assert (slow.stops, len(slow.upstream.received)) == ([Stop.LIMIT], 1)
        slow.upstream.script = always(OK)
        slow.now_us += 10_000_000
        assert (await slow.call("once"))[0] == 200
        assert sorted(changes) == [State.CLOSED, State.OPEN, State.HALF_OPEN]
