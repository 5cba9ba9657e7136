"""Failed attempts are followed by others, on a clock of the test's own: nothing here waits for time to pass."""

import asyncio

import pytest

from gateway.core.ask import Ask
from gateway.core.limits import Decision
from gateway.core.retry import Stop
from gateway.settings import HeaderSettings
from gateway.store import StoreDown
from tests.app.conftest import Start
from tests.app.trying import DOWN, GET, POLICIES, Begin, Watched, after, timed
from tests.app.trying import begin as begin
from tests.fakes.ports import silent
from tests.fakes.upstream import OK, Received, Socket, Upstream, always
from tests.fakes.waiting import eventually


async def test_the_vendors_table(begin: Begin, upstream: Upstream) -> None:
    """Attempts at 0, 1, 3, 7 and 15 s; then given up, with the upstream's own answer."""
    gateway = await begin()
    at: list[float] = []
    upstream.script = timed(gateway.clock, at)
    answer, record = await gateway.call()
    assert at == [0, 1, 3, 7, 15]
    assert answer.startswith(b"HTTP/1.1 503 Down\r\nX-From: upstream\r\n")
    assert answer.endswith(b"\r\n\r\ndown")
    assert gateway.stops == [(record, Stop.ATTEMPTS)]
    assert (record.retry_wait_s, record.upstream_s) == (15, 0)
    assert (record.upstream_status, record.error_class) == (503, "server_error")
    entries = [(one["n"], one["status"], one["error_class"], one.get("wait_ms")) for one in record.attempts or ()]
    waits = [None, 1000, 2000, 4000, 8000]
    assert entries == [(n, 503, "server_error", wait) for n, wait in enumerate(waits, 1)]
    assert gateway.retries == [("server_error", "server_error")] * 4


@pytest.mark.parametrize("chance", [0, 1 << 30, (1 << 32) - 1])
async def test_sleeps_are_inside_the_bounds_of_jitter(begin: Begin, upstream: Upstream, chance: int) -> None:
    """Anything from a tenth of the base, doubled each time, to all of it, and never more than the most."""
    gateway = await begin(", total: 60s", backoff="{base: 2s, max: 10s}")
    gateway.running.gateway.random_bits = lambda bits: chance >> (32 - bits) if bits <= 32 else chance
    upstream.script = always(DOWN)
    _, record = await gateway.call()
    waits = [one["wait_ms"] for one in (record.attempts or ())[1:]]
    most = [2000, 4000, 8000, 10_000]
    assert waits == [pytest.approx(bound * (0.1 + 0.9 * chance / 2**32), abs=0.01) for bound in most]
    assert len(upstream.received) == 5


async def test_a_call_that_succeeds_at_last_is_a_success_charged_once(begin: Begin, upstream: Upstream) -> None:
    gateway = await begin()
    upstream.script = after(2)
    answer, record = await gateway.call()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b'"tenant-10m";r=499' in answer
    assert b'"source-1m";r=997' in answer  # three attempts
    assert (len(upstream.received), record.retry_wait_s, record.error_class, gateway.stops) == (3, 3, "", [])
    assert [one["status"] for one in record.attempts or ()] == [503, 503, 200]
    parents = [one.fields("traceparent")[0].split("-")[1:3] for one in upstream.received]
    spans = [record.span_id, *(one["span_id"] for one in (record.attempts or ())[1:])]
    assert parents == [[record.trace_id, span] for span in spans]
    assert len(set(spans)) == 3
    assert gateway.retries == [("server_error", "server_error"), ("server_error", "success")]


async def test_a_first_attempt_that_succeeds_leaves_no_trace(begin: Begin, upstream: Upstream) -> None:
    gateway = await begin()
    _, record = await gateway.call()
    assert (record.attempts, record.retry_wait_s, gateway.retries, gateway.stops) == (None, 0.0, [], [])


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 501])
async def test_what_the_policy_does_not_list_is_passed_on(begin: Begin, upstream: Upstream, status: int) -> None:
    gateway = await begin()
    upstream.script = always(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status)
    answer, record = await gateway.call()
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert (len(upstream.received), record.attempts) == (1, None)


class TestWhatTheUpstreamAsksFor:
    LATER = b"HTTP/1.1 429 Later\r\nRetry-After: %d\r\nContent-Length: 0\r\n\r\n"

    async def test_is_waited_for(self, begin: Begin, upstream: Upstream) -> None:
        gateway = await begin()
        upstream.script = after(1, failure=self.LATER % 7)
        _, record = await gateway.call()
        assert record.status == 200
        assert 7 <= record.retry_wait_s <= 7.7  # not all who were asked come back at once

    async def test_is_not_waited_for_when_it_is_too_long(self, begin: Begin, upstream: Upstream) -> None:
        gateway = await begin()
        upstream.script = always(self.LATER % 31)
        answer, record = await gateway.call()
        assert b"\r\nRetry-After: 31\r\n" in answer
        assert (gateway.reasons, record.retry_wait_s, record.attempts) == ([Stop.UPSTREAM_WAIT], 0.0, None)

    async def test_is_not_heard_where_the_policy_says_so(self, begin: Begin, upstream: Upstream) -> None:
        gateway = await begin(", honor: [RateLimit]")
        upstream.script = after(1, failure=self.LATER % 7)
        assert (await gateway.call())[1].retry_wait_s == 1

    @pytest.mark.parametrize(("honor", "least_s", "most_s"), [("", 7, 7.7), (", honor: []", 1, 1)])
    async def test_is_also_heard_in_fields_of_its_own(
        self, start: Start, upstream: Upstream, honor: str, least_s: float, most_s: float
    ) -> None:
        """Here nobody is paused: the call names no connection."""
        own = ", learn_limits: {scope: connection, also_from: [{remaining: X-Left, reset: X-Until}]}}\nroutes:"
        policies = POLICIES.replace("}\nroutes:", own)
        policies = policies.replace("keys:\n", "keys:\n  connection: {from: header, name: X-C, on_missing: skip}\n")
        gateway = Watched(await start(policies % {"retry": honor, "url": upstream.url, "source": 10}))
        upstream.script = after(
            1, failure=b"HTTP/1.1 429 Later\r\nX-Left: 0\r\nX-Until: 7\r\nContent-Length: 0\r\n\r\n"
        )
        _, record = await gateway.call()
        assert record.status == 200
        assert least_s <= record.retry_wait_s <= most_s


class TestDeadlines:
    async def test_no_wait_goes_beyond_the_total(self, begin: Begin, upstream: Upstream) -> None:
        gateway = await begin(", total: 10s")
        at: list[float] = []
        upstream.script = timed(gateway.clock, at)
        await gateway.call()
        assert (at, gateway.reasons) == ([0, 1, 3, 7], [Stop.DEADLINE])

    async def test_nor_beyond_the_end_of_a_drain(self, begin: Begin, upstream: Upstream) -> None:
        gateway = await begin()
        gateway.running.gateway.cut_at = gateway.clock.now + 5
        upstream.script = always(DOWN)
        await gateway.call()
        assert (len(upstream.received), gateway.reasons) == (3, [Stop.DEADLINE])

    @pytest.mark.parametrize("bound", ["total", "per_try"])
    async def test_connecting_is_part_of_an_attempt(self, start: Start, bound: str) -> None:
        """The upstream's own time for it may be longer."""
        with silent() as port:
            retry = f", {bound}: 1s, on_error: [timeout]"
            text = POLICIES % {"retry": retry, "url": f"http://127.0.0.1:{port}", "source": 1000}
            running = await start(text.replace('"}\nroutes', '", timeouts: {connect: 60s}}\nroutes'))
            await running.raw(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        (record,) = running.records.all
        assert record.status == 504
        assert record.error_detail.endswith("no connection within 1000 ms")

    async def test_an_attempt_without_an_answer_in_time_has_failed(self, begin: Begin, upstream: Upstream) -> None:
        gateway = await begin(", per_try: 20s, on_error: [timeout]")

        async def late_once(_request: Received, socket: Socket) -> bytes | None:
            if len(upstream.received) > 1:
                return OK
            gateway.running.time_is_over()
            await socket.reader.read()
            return None

        upstream.script = late_once
        _, record = await gateway.call()
        assert record.status == 200
        assert [one.get("error_class") for one in record.attempts or ()] == ["timeout", None]


class TestWaiting:
    async def test_holds_no_socket(self, begin: Begin, upstream: Upstream) -> None:
        gateway = await begin()
        pool = gateway.running.gateway.upstreams.pools()["up"]
        active: list[int] = []
        gateway.clock.sleeping = lambda: active.append(pool.active)
        upstream.script = always(DOWN)
        await gateway.call()
        assert active == [0] * 4
        assert upstream.accepted == 1  # it went back to the pool, in order

    async def test_ends_with_its_caller(self, begin: Begin, upstream: Upstream) -> None:
        """Nothing more is sent for a caller that left during the back-off."""
        gateway = await begin()
        asleep, never = asyncio.Event(), asyncio.Event()

        async def sleep(_seconds: float) -> None:
            asleep.set()
            await never.wait()

        gateway.running.gateway.sleep = sleep
        upstream.script = always(DOWN)
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.running.port)
        writer.write(GET)
        await asleep.wait()
        writer.close()
        (record,) = await gateway.running.records.wait(1)
        assert (record.status, record.aborted_by, len(upstream.received)) == (499, "client", 1)
        assert [one["status"] for one in record.attempts or ()] == [503]
        assert (_budget(gateway).under_way, gateway.retries) == (0, [])

    @pytest.mark.parametrize(("drained", "fault"), [(False, "client_closed"), (True, "drained")])
    async def test_an_attempt_that_is_given_up_was_made(
        self, begin: Begin, upstream: Upstream, drained: bool, fault: str
    ) -> None:
        """Its upstream has seen it, its limits were charged: the record, the metrics and its span say so, too."""
        gateway = await begin()
        asked, stages = asyncio.Event(), gateway.running.gateway

        async def script(_request: Received, socket: Socket) -> bytes | None:
            if len(upstream.received) == 1:
                return DOWN
            if drained:
                stages.cut_at = stages.clock()
            asked.set()
            await socket.reader.read()
            return None

        upstream.script = script
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.running.port)
        writer.write(GET)
        await asked.wait()
        writer.close()
        (record,) = await gateway.running.records.wait(1)
        assert (record.error_class, len(upstream.received)) == (fault, 2)
        first, second = record.attempts or ()
        assert (first["status"], second["n"], second["error_class"], second["wait_ms"]) == (503, 2, fault, 1000)
        assert upstream.received[1].fields("traceparent")[0].split("-")[2] == second["span_id"]
        assert gateway.retries == [("server_error", fault)]

    async def test_one_whose_body_breaks_off_was_made_too(self, begin: Begin, upstream: Upstream) -> None:
        gateway = await begin(", non_idempotent: always")
        asked, upstream.read_body = asyncio.Event(), False

        async def script(_request: Received, socket: Socket) -> bytes | None:
            if len(upstream.received) == 1:
                return DOWN
            asked.set()
            await socket.reader.read()
            return None

        upstream.script = script
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.running.port)
        writer.write(b"PUT /x HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await asked.wait()
        writer.write(b"no chunk\r\n")
        assert b" 400 " in await reader.readline()
        writer.close()
        (record,) = await gateway.running.records.wait(1)
        assert [one["error_class"] for one in record.attempts or ()] == ["server_error", "client_error"]

    async def test_answers_that_are_too_large_to_keep_are_passed_on_whole(
        self, begin: Begin, upstream: Upstream
    ) -> None:
        gateway = await begin()
        page = b"x" * 1_000_000
        upstream.script = always(b"HTTP/1.1 500 Oops\r\nContent-Length: %d\r\n\r\n%b" % (len(page), page))
        answer, record = await gateway.call()
        assert answer.endswith(b"\r\n\r\n" + page)
        assert (len(upstream.received), record.attempts, gateway.reasons) == (1, None, [Stop.ANSWER])

    async def test_answers_in_chunks_are_kept_with_their_trailers(self, begin: Begin, upstream: Upstream) -> None:
        gateway = await begin(", attempts: 2".replace(", attempts: 2", ", budget: none"))
        body = b"4\r\ndown\r\n0\r\nX-Sum: 7\r\n\r\n"
        upstream.script = always(b"HTTP/1.1 503 Down\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n" + body)
        answer, _ = await gateway.call()
        assert answer.endswith(b"\r\n\r\n" + body)


class TestLimitsPerAttempt:
    async def test_one_that_refuses_ends_it_with_the_last_answer(self, begin: Begin, upstream: Upstream) -> None:
        gateway = await begin(source=3)
        upstream.script = always(DOWN)
        answer, record = await gateway.call()
        assert answer.startswith(b"HTTP/1.1 503 Down\r\n")
        assert answer.endswith(b"down")
        assert (len(upstream.received), gateway.reasons, record.retry_wait_s) == (3, [Stop.LIMIT], 7)
        assert b'"source-1m";r=0' in answer

    @pytest.mark.parametrize(
        ("posture", "attempts", "reason"),
        [("deny", 1, Stop.LIMIT), ("local", 3, Stop.LIMIT), ("allow", 5, Stop.ATTEMPTS)],
    )
    async def test_while_the_store_is_down_each_does_what_it_says(
        self, start: Start, upstream: Upstream, posture: str, attempts: int, reason: Stop
    ) -> None:
        """It goes down after the first attempt was admitted; what is `local` then has room for two more. What is left by
        one worker's count nobody is told."""
        policies = POLICIES.replace("charge: per_attempt", f"charge: per_attempt, on_store_error: {posture}")
        gateway = Watched(await start(policies % {"retry": "", "url": upstream.url, "source": 2}))
        store = gateway.running.gateway.store

        async def down(_ask: Ask, _lease: str) -> Decision:
            raise StoreDown("timeout")

        async def fail(_request: Received, _socket: Socket) -> bytes:
            store.admit = down  # type: ignore[method-assign]
            return DOWN

        upstream.script = fail
        answer, _ = await gateway.call()
        assert answer.endswith(b"down")
        assert (len(upstream.received), gateway.reasons) == (attempts, [reason])
        assert b'"source-1m";r=1;' in answer

    @pytest.mark.parametrize("away", [False, True], ids=["store", "while it is away"])
    async def test_one_that_finds_no_place_is_not_charged(self, start: Start, upstream: Upstream, away: bool) -> None:
        """While it waits, another call takes the only socket."""
        policies = POLICIES.replace('{url: "%(url)s"}', '{url: "%(url)s", max_sockets: 1}')
        breakers = "breakers:\n  two: {key: [], consecutive_failures: 2}\nroutes:"
        policies = policies.replace("routes:", breakers).replace("upstream: up,", "upstream: up, breaker: two,")
        gateway = Watched(await start(policies % {"retry": "", "url": upstream.url, "source": 3}))
        others: list[asyncio.Task[object]] = []
        over = asyncio.Event()

        async def script(request: Received, _socket: Socket) -> bytes:
            if request.target == "/slow":
                await over.wait()
                return OK
            return DOWN.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)

        async def another_comes(_seconds: float) -> None:
            others.append(asyncio.create_task(gateway.call(GET.replace(b"/x", b"/slow"))))
            await upstream.until(lambda: len(upstream.received) == 2)

        if away:
            await gateway.running.gateway.store.close()
        upstream.script = script
        gateway.running.gateway.sleep = another_comes
        answer, record = await gateway.call()
        assert answer.startswith(b"HTTP/1.1 503 Down\r\n"), "it was sent, and that is how it went"
        assert (record.error_class, record.upstream_status, gateway.reasons[:1]) == ("server_error", 503, [Stop.PLACE])
        assert [one["error_class"] for one in record.attempts or ()] == ["server_error", "busy"]
        over.set()
        await asyncio.gather(*others)
        upstream.script = always(OK)
        statuses = [(await gateway.call())[1].status for _ in range(2)]
        assert statuses == [200, 429], "three were sent, and one has failed"


def _budget(gateway: Watched) -> object:
    retry = gateway.running.gateway.policies.routes[0].retry
    assert retry is not None
    assert retry.share is not None
    return gateway.running.gateway.upstreams.pools()["up"].budget(retry.share)


class TestBudget:
    async def test_under_an_outage_the_upstream_sees_a_fifth_more(self, begin: Begin, upstream: Upstream) -> None:
        gateway = await begin(", budget: {percent: 20, min_concurrent: 0}")
        upstream.script = always(DOWN)
        for _ in range(50):
            await gateway.call()
        assert len(upstream.received) == 60
        assert gateway.reasons.count(Stop.BUDGET) == 50

    async def test_without_one_every_call_gets_its_attempts(self, begin: Begin, upstream: Upstream) -> None:
        gateway = await begin(", budget: none")
        upstream.script = always(DOWN)
        await asyncio.gather(
            *(gateway.running.raw(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")) for _ in range(10))
        )
        assert len(upstream.received) == 50


async def test_attempts_wait_for_their_turn(start: Start, upstream: Upstream) -> None:
    """One an hour: the second waits, for whom there is no place is told to come back, and who leaves sends nothing."""
    paced = POLICIES.replace('{url: "%(url)s"}', '{url: "%(url)s", pace: {rate: 1, per: 1h, queue: 1, max_wait: 2h}}')
    running = await start(paced % {"retry": "", "url": upstream.url, "source": 9})
    assert b" 200 OK" in await running.raw(GET, until=b"ok")
    _, waiting = await asyncio.open_connection("127.0.0.1", running.port)
    waiting.write(GET)
    (line,) = running.gateway.pacing._lines.values()
    await eventually(lambda: line.waiting)
    told = await running.raw(GET, until=b"}")
    assert b'"code":"UPSTREAM_BUSY"' in told
    assert b"\r\nRetry-After: 3600\r\n" in told
    waiting.close()
    _, refused, left = await running.records.wait(3)
    assert (refused.error_class, refused.status, left.status, len(upstream.received)) == ("busy", 503, 499, 1)
    assert left.queue_s > 0
    assert left.queue_s + left.upstream_s <= left.ended - left.started, "no wait is counted twice"
    assert not line.waiting


async def test_callers_may_be_told_where_the_time_went(start: Start, upstream: Upstream) -> None:
    upstream.script = after(1)
    text = POLICIES % {"retry": "", "url": upstream.url, "source": 1000}
    watched = Watched(await start(text, headers=HeaderSettings(server_timing=True)))
    answer, _ = await watched.call()
    (line,) = [line for line in answer.decode().split("\r\n") if line.startswith("Server-Timing: ")]
    told = dict(part.split(";dur=") for part in line.removeprefix("Server-Timing: ").split(", "))
    assert told["retry-wait"] == "1000.0"
    assert set(told) <= {"gw", "store", "queue", "upstream", "retry-wait"}
    assert told["gw"] == "0.0", "nothing of the waiting is the gateway's own"
