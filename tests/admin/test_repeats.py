"""Reads that callers repeat: counted when somebody asks, in bounded memory, over all workers."""

import tracemalloc

import pytest

from gateway.admin.watching.repeats import MOST, Repeats
from gateway.core.ask import Ask
from gateway.core.keys import partition_key
from gateway.core.limits import Charge
from gateway.observe.batch import Batch
from gateway.record import CallRecord
from gateway.siblings import Siblings
from tests.admin.conftest import WINDOW, Admin
from tests.fakes.waiting import eventually


def read(target: str = "/deals?page=1", tenant: str = "acme", **changes: str) -> CallRecord:
    record = CallRecord()
    record.method, record.target, record.route, record.tenant = "GET", target, "erp", tenant
    record.response_source = "upstream"
    record.ask = Ask((Charge(WINDOW, partition_key(WINDOW, {"tenant": tenant}), 1),))
    for name, value in changes.items():
        setattr(record, name, value)
    return record


def tell(admin: Admin, *records: CallRecord) -> None:
    for record in records:
        admin.worker.batch.emit(record)
    admin.worker.batch.flush()


async def test_nobody_is_counted_before_somebody_asks(admin: Admin) -> None:
    takers = admin.worker.batch.takers
    status, body, _ = await admin.ask("/-/repeats")
    assert (status, body["code"]) == (409, "NOT_WATCHING")
    tell(admin, read(), read())
    status, body, _ = await admin.ask("/-/repeats", "POST", json={"ttl": "10m"})
    assert (status, body) == (200, {"for_s": 600.0, "workers": 1, "missing": []})
    assert len(admin.worker.batch.takers) == len(takers) + 1
    assert (await admin.ask("/-/repeats"))[1]["reads"] == 0


async def test_what_is_repeated_and_what_it_takes(admin: Admin) -> None:
    await admin.ask("/-/repeats", "POST", json={"ttl": "10m"})
    once = [read("/once"), read(tenant="other"), read("/deals?page=2")]
    no_reads = [read(method="POST"), read(method="POST"), read(response_source="cache"), read(response_source="limit")]
    tell(admin, *[read() for _ in range(5)], *once, *no_reads)
    _, body, _ = await admin.ask("/-/repeats")
    assert (body["reads"], body["repeated"], body["watching"], body["workers"]) == (8, 4, True, 1)
    (found,) = body["repeats"]
    assert (found["count"], found["at_most"], found["saves"]) == (5, 5, 4)
    assert (found["route"], found["tenant"], found["path"], found["query"]) == ("erp", "acme", "/deals", True)
    assert "account" not in found
    assert "page" not in str(body), "nobody knows what a query holds"
    (share,) = found["limits"]
    assert (share["limit"], share["key"], share["units"], share["supposed"]) == ("tenant-10m", "acme", 4, True)
    assert share["share_ppm"] == pytest.approx(min(1e6, 4 * 600 * 1e6 / (500 * body["over_s"])), rel=0.5)


async def test_counting_ends_and_what_was_found_stays(admin: Admin) -> None:
    takers = admin.worker.batch.takers
    await admin.ask("/-/repeats", "POST", json={"ttl": "1ms"})
    await eventually(lambda: admin.worker.batch.takers == takers)
    tell(admin, read(), read())
    _, first, _ = await admin.ask("/-/repeats")
    _, second, _ = await admin.ask("/-/repeats")
    assert (first["watching"], first["reads"], first["over_s"]) == (False, 0, second["over_s"])


async def test_asking_again_begins_anew(admin: Admin) -> None:
    await admin.ask("/-/repeats", "POST", json={"ttl": "10m"})
    tell(admin, read(), read())
    await admin.ask("/-/repeats", "POST", json={"ttl": "10m"})
    tell(admin, read())
    assert (await admin.ask("/-/repeats"))[1]["reads"] == 1


@pytest.mark.parametrize("order", [{}, {"ttl": 5}, {"ttl": "soon"}, {"ttl": "25h"}, {"ttl": "1m", "more": 1}, []])
async def test_bad_orders_are_refused(admin: Admin, order: object) -> None:
    status, body, _ = await admin.ask("/-/repeats", "POST", json=order)
    assert (status, body["code"]) == (400, "BAD_ORDER")


async def test_bad_questions_are_refused(admin: Admin) -> None:
    assert (await admin.ask("/-/repeats?limit=0"))[0] == 400


async def test_memory_is_bounded_and_who_repeats_is_found_among_many() -> None:
    repeats = Repeats(Siblings(), Batch(()))
    repeats.watch(60.0)
    for number in range(20 * MOST):
        repeats.take([read(f"/{number}"), read("/polled")] if number % 10 == 0 else [read(f"/{number}")])
    found = repeats.counts()
    assert len(found["counts"]) <= MOST
    (digest,) = [digest for digest, count in found["counts"].items() if count > 1]
    (about,) = repeats.of([digest], [1], 60.0).values()
    assert about["path"] == "/polled"
    count = found["counts"][digest]
    assert count <= 2 * MOST <= count + found["missed"]
    assert len(repeats._asks) <= MOST
    repeats._stop()


async def test_reads_of_very_many_callers_with_long_names_take_no_memory() -> None:
    repeats = Repeats(Siblings(), Batch(()))
    repeats.watch(60.0)
    record = read()
    tracemalloc.start()
    try:
        for number in range(12 * MOST):
            record.target, record.tenant = f"/{number}?{'q' * 2000}", f"{number}{'t' * 4000}"
            repeats.take([record])
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        repeats._stop()
    assert repeats.counts()["seen"] == 12 * MOST
    assert held_bytes < 2 * MOST * 2_000  # of each some text, and what a dictionary takes
