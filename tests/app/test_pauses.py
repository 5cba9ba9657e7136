"""A connection whose upstream asked to be left alone: nobody gets there before it is over."""

import json
from time import monotonic

from tests.app.breaking import (
    PAUSE,
    call,
    policies,
)
from tests.app.conftest import Start
from tests.fakes.upstream import Upstream, always


async def test_a_pause_refuses_until_it_is_over_and_reaches_nobody(start: Start, upstream: Upstream) -> None:
    gateway = await start(policies(upstream))
    began_s = monotonic()
    await gateway.gateway.store.pause(PAUSE, 40_000_000)
    waits = set()
    for _ in range(20):
        status, fields, body = await call(gateway)
        problem = json.loads(body)
        assert (status, problem["code"]) == (429, "UPSTREAM_RATE_LIMITED")
        waits.add(int(fields["Retry-After"]))
    assert min(waits) >= 40 - (monotonic() - began_s)
    assert max(waits) <= 44
    assert len(waits) > 1, "spread, so that not all come back at once"
    assert upstream.received == []
    assert gateway.records.all[-1].response_source == "pause"
    assert (await call(gateway, "c2"))[0] == 200
    await gateway.gateway.store.pause(PAUSE, 0)
    assert (await call(gateway))[1]["X-RateLimit-Remaining"] == "98"


def asking(*fields: str, status: int = 429) -> bytes:
    """An answer with these fields."""
    return "\r\n".join([f"HTTP/1.1 {status} Wait", "Content-Length: 0", *fields, "", ""]).encode()


async def test_what_one_call_is_told_all_heed(start: Start, upstream: Upstream) -> None:
    one, other = await start(policies(upstream)), await start(policies(upstream))
    told_of: list[tuple[str, int]] = []
    for gateway in (one, other):
        gateway.gateway.pauses.on_pause = lambda guard, wait_us: told_of.append((guard.key, wait_us))
    upstream.script = always(asking("Retry-After: 60"))
    began_s = monotonic()
    status, fields, _ = await call(one)
    assert (status, fields["Retry-After"]) == (429, "60")
    for gateway in (one, other) * 5:
        status, fields, body = await call(gateway)
        assert json.loads(body)["code"] == "UPSTREAM_RATE_LIMITED"
        assert 60 - (monotonic() - began_s) <= int(fields["Retry-After"]) <= 66
    assert len(upstream.received) == 1
    assert told_of == [(PAUSE.key, 60_000_000)]


async def test_an_answer_with_nothing_left_pauses_too_and_any_other_does_not(start: Start, upstream: Upstream) -> None:
    learn = "learn_limits: {from: [Retry-After, RateLimit], scope: connection}"
    gateway = await start(
        policies(upstream).replace("learn_limits: {from: [Retry-After], scope: connection, max: 15m}", learn)
    )
    upstream.script = always(asking('RateLimit: "up";r=7;t=30', "Retry-After: 60", status=200))
    for _ in range(3):
        assert (await call(gateway))[0] == 200
    upstream.script = always(asking('RateLimit: "up";r=0;t=30', status=200))
    assert (await call(gateway))[0] == 200
    status, _, body = await call(gateway)
    problem = json.loads(body)
    assert (status, problem["title"]) == (429, "The upstream wants no calls yet")
    assert problem["detail"] == "The upstream up asked for a pause, or said that nothing is left."
    assert (await call(gateway, "c2"))[0] == 200


async def test_a_pause_learned_while_the_store_is_down_holds_in_this_worker(start: Start, upstream: Upstream) -> None:
    gateway = await start(policies(upstream))
    await gateway.gateway.store.close()
    upstream.script = always(asking("Retry-After: 60"))
    await call(gateway)
    assert json.loads((await call(gateway))[2])["code"] == "UPSTREAM_RATE_LIMITED"
