"""Workers that ask and tell each other through the supervisor."""

import asyncio
import socket
from typing import Any

import pytest

from gateway.siblings import Siblings
from gateway.siblings.frames import FIRST_LINE, MAX_BODY_BYTES, Decoder, Kind, Message
from gateway.siblings.line import MOST_AT_WORK
from tests.fakes.waiting import eventually, for_ever
from tests.siblings.conftest import Exchange, Worker

Payload = dict[str, Any]


def named(name: str) -> Any:
    return lambda asked: {"name": name, "asked": asked}


async def test_every_worker_answers_and_says_who_it_is(worker: Worker) -> None:
    first, *_ = [await worker(index, who=named(f"w{index}")) for index in range(3)]
    answers = await first.ask_all("who", {"n": 7}, timeout_s=10)
    assert [one.worker for one in answers] == [0, 1, 2]
    assert [one.payload for one in answers] == [{"name": f"w{index}", "asked": {"n": 7}} for index in range(3)]
    assert not any(one.missing for one in answers)


async def test_a_single_worker_asks_itself_without_any_line() -> None:
    alone = Siblings()
    alone.on("who", named("me"))
    await alone.start()
    (answer,) = await alone.ask_all("who", {}, timeout_s=1)
    assert (answer.worker, answer.payload["name"]) == (0, "me")
    heard: list[Payload] = []
    alone.on("news", heard.append)
    alone.tell_all("news", {"n": 1})
    alone.tell(0, "news", {"n": 2})
    assert heard == [{"n": 1}, {"n": 2}]
    assert (await alone.ask_supervisor("anything", {}, timeout_s=1)).missing == "there is no supervisor"
    await alone.close()


async def test_what_a_worker_cannot_answer_is_said_and_the_others_count(worker: Worker) -> None:
    def fails(_asked: Payload) -> Payload:
        raise RuntimeError("cannot stand it")

    first = await worker(0, who=named("w0"))
    await worker(1, who=fails)
    await worker(2)
    answers = await first.ask_all("who", {}, timeout_s=10)
    assert [one.missing for one in answers] == ["", "RuntimeError: cannot stand it", "nobody answers who"]


async def test_a_worker_that_thinks_too_long_is_missing_in_time(worker: Worker) -> None:
    async def thinks(_asked: Payload) -> Payload:
        await for_ever()

    first = await worker(0, who=named("w0"))
    await worker(1, who=thinks)
    answers = await first.ask_all("who", {}, timeout_s=0.05)
    assert [one.missing for one in answers] == ["", "no answer in time"]
    assert [one.worker for one in answers] == [0, 1]


async def test_a_worker_that_dies_is_missing_at_once(worker: Worker, exchange: Exchange) -> None:
    asked = asyncio.Event()

    async def thinks(_asked: Payload) -> Payload:
        asked.set()
        await for_ever()

    first = await worker(0, who=named("w0"))
    dying = await worker(1, who=thinks)
    answers = asyncio.create_task(first.ask_all("who", {}, timeout_s=3600))
    await asked.wait()
    await dying.close()
    assert [one.missing for one in await answers] == ["", "gone"]
    successor = await worker(1, who=named("new"))
    assert [one.payload["name"] for one in await successor.ask_all("who", {}, timeout_s=10)] == ["w0", "new"]


async def test_one_is_told_or_all_are(worker: Worker) -> None:
    heard: list[tuple[int, Payload]] = []
    done = asyncio.Event()

    def hears(index: int) -> Any:
        def hear(told: Payload) -> None:
            heard.append((index, told))
            if told.get("last"):
                done.set()

        return hear

    first, *_ = [await worker(index, news=hears(index)) for index in range(3)]
    first.tell(2, "news", {"n": 1})
    first.tell_all("news", {"n": 2})
    first.tell(1, "news", {"last": True})
    await done.wait()
    assert (2, {"n": 1}) in heard
    assert (1, {"n": 1}) not in heard
    assert (0, {"n": 1}) not in heard
    assert sorted(index for index, told in heard if told == {"n": 2}) in ([0, 1], [0, 1, 2])


async def test_the_supervisor_answers_and_its_mistakes_are_told(worker: Worker, exchange: Exchange) -> None:
    exchange.board.on("time", lambda asked: {"you": asked})
    exchange.board.on("bad", lambda asked: asked["nothing"])
    first = await worker(0)
    assert (await first.ask_supervisor("time", {"a": 1}, timeout_s=10)).payload == {"you": {"a": 1}}
    assert (await first.ask_supervisor("bad", {}, timeout_s=10)).missing.startswith("KeyError")
    assert (await first.ask_supervisor("unknown", {}, timeout_s=10)).missing.startswith("KeyError")


async def test_the_supervisor_tells_everybody(worker: Worker, exchange: Exchange) -> None:
    heard: asyncio.Queue[Payload] = asyncio.Queue()
    for index in range(2):
        await worker(index, news=heard.put_nowait)
    await exchange.run(lambda: exchange.board.tell_all("news", {"n": 1}))
    assert [await heard.get(), await heard.get()] == [{"n": 1}, {"n": 1}]


async def test_a_worker_that_does_not_read_stalls_nobody_and_is_not_asked(worker: Worker, exchange: Exchange) -> None:
    first = await worker(0, who=named("w0"))
    opened: list[Any] = []
    await exchange.run(lambda: opened.append(exchange.line(1)))
    line, deaf = opened[0]
    await exchange.run(lambda: exchange.board.connect(line))
    big = {"text": "x" * 500_000}
    while not exchange.dropped:
        first.tell(1, "news", big)
        await first.ask_supervisor("sync", {}, timeout_s=10)
    assert len(line.waiting) < 4 * 1024 * 1024
    answers = await first.ask_all("who", {}, timeout_s=3600)
    assert [(one.worker, one.missing) for one in answers] == [(0, ""), (1, "busy")]
    deaf.close()


async def test_a_message_that_is_too_long_is_dropped_and_counted(worker: Worker) -> None:
    first = await worker(0, who=lambda _asked: {})
    await worker(1, who=lambda _asked: {"text": "x" * (MAX_BODY_BYTES + 1)})
    first.tell(1, "news", {"text": "x" * (MAX_BODY_BYTES + 1)})
    assert first.dropped.total() == 1
    answers = await first.ask_all("who", {}, timeout_s=10)
    assert [one.missing for one in answers] == ["", "its answer is too long"]


async def test_more_questions_than_a_worker_can_work_on_are_not_taken(worker: Worker) -> None:
    async def thinks(_told: Payload) -> None:
        await for_ever()

    alone = await worker(0, news=thinks)
    for _ in range(MOST_AT_WORK + 5):
        alone.tell_all("news", {})
    assert alone.dropped.total() == 5


async def test_what_goes_wrong_with_news_is_reported_and_nothing_else(worker: Worker) -> None:
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context["exception"]))
    alone = await worker(0, news=lambda asked: asked["nothing"])
    alone.tell_all("news", {})
    assert [type(error) for error in told] == [KeyError]


@pytest.mark.parametrize("garbage", [b"\xff" * 64, b"\x09" + b"\0" * 16, b"GET / HTTP/1.1\r\n\r\n"])
async def test_garbage_costs_the_line_of_who_sent_it(garbage: bytes, worker: Worker, exchange: Exchange) -> None:
    first = await worker(0, who=named("w0"))
    opened: list[Any] = []
    await exchange.run(lambda: opened.append(exchange.line(1)))
    line, rude = opened[0]
    await exchange.run(lambda: exchange.board.connect(line))
    rude.setblocking(True)
    rude.sendall(garbage)
    assert await asyncio.to_thread(rude.recv, 100) == b"", "hung up"
    rude.close()
    assert [one.worker for one in await first.ask_all("who", {}, timeout_s=10)] == [0]


async def test_without_a_supervisor_questions_end_at_once(worker: Worker, exchange: Exchange) -> None:
    async def thinks(_asked: Payload) -> Payload:
        await exchange.run(lambda: [exchange.board.close(line) for line in exchange.lines])
        await for_ever()

    first = await worker(0, who=named("w0"))
    await worker(1, who=thinks)
    answers = await first.ask_all("who", {}, timeout_s=3600)
    assert [one.missing for one in answers] == ["", "gone"]
    assert (await first.ask_supervisor("time", {}, timeout_s=3600)).missing in ("busy", "gone")


def test_messages_come_out_as_they_went_in_however_they_are_cut() -> None:
    sent = [
        Message(kind, FIRST_LINE, 5, 6, b"x" * size) for kind, size in zip(Kind, (0, 1, 100, 9, 70_000), strict=True)
    ]
    stream = b"".join(message.encode() for message in sent)
    for size in (1, 7, 16, 65_536):
        decoder = Decoder()
        got = [one for at in range(0, len(stream), size) for one in decoder.feed(stream[at : at + size])]
        assert got == sent


def test_too_long_a_message_is_refused_on_both_sides() -> None:
    long = Message(Kind.TELL, 0, 0, 0, b"x" * (MAX_BODY_BYTES + 1))
    with pytest.raises(ValueError, match="at most"):
        long.encode()
    announced = Message(Kind.TELL, 0, 0, 0, b"").encode()[:-4] + (MAX_BODY_BYTES + 1).to_bytes(4, "big")
    with pytest.raises(ValueError, match="at most"):
        list(Decoder().feed(announced))


def test_children_keep_only_their_own_end() -> None:
    from gateway.supervisor.switchboard import Switchboard

    board = Switchboard()
    mine, other = board.open(0), board.open(1)
    board.leave(mine)
    assert isinstance(mine.theirs, socket.socket)
    assert mine.theirs.fileno() >= 0
    assert {mine.ours.fileno(), other.ours.fileno(), other.theirs.fileno()} == {-1}
    mine.theirs.close()


async def test_a_leader_who_is_not_there_yet_is_waited_for(worker: Worker, exchange: Exchange) -> None:
    first = await worker(0, who=named("w0"))
    await worker(1, who=named("w1"))
    asked = asyncio.create_task(first.ask_leader("who", {}, timeout_s=10))
    await eventually(lambda: first._questions)  # it has asked, and nobody leads
    await eventually(lambda: not first._questions)
    await exchange.run(lambda: exchange.board.appoint(exchange.lines[1:]))
    assert (await asked).payload["name"] == "w1"


async def test_nobody_leads_for_long(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.siblings.line.LOOKS", 2)
    first = await worker(0)
    assert (await first.ask_leader("who", {}, timeout_s=10)).missing == "nobody leads right now"


async def test_a_worker_that_has_hung_up_is_not_made_to_lead(worker: Worker, exchange: Exchange) -> None:
    """Its process may be there still: it is reaped after its line is gone."""
    await worker(0, who=named("w0"))
    second, told = await worker(1, who=named("w1")), asyncio.Event()
    second.on("reload.lead", lambda _: told.set())
    await exchange.run(lambda: exchange.board.close(exchange.lines[0]))
    await exchange.run(lambda: exchange.board.appoint(exchange.lines))
    await told.wait()
    assert (await second.ask_leader("who", {}, timeout_s=10)).payload["name"] == "w1"
