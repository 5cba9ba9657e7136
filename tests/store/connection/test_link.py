"""One link, played by hand: a transport that only records, replies fed in as bytes."""

import asyncio
import socket
from time import monotonic

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.store import StoreDown
from gateway.store.connection.link import Link, pack
from tests.fakes.waiting import eventually, hold_up, turns

PATIENT_S = 1_000.0


class Wire:
    """The transport: remembers what was written."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.writes.append(bytes(data))

    def abort(self) -> None:
        self.aborted = True


class Owner:
    def __init__(self) -> None:
        self.troubles: list[StoreDown] = []
        self.scripts_missing = 0

    def on_trouble(self, fault: StoreDown) -> None:
        self.troubles.append(fault)

    def on_script_missing(self) -> None:
        self.scripts_missing += 1


class Line:
    """A link with both ends in the test's hands."""

    def __init__(self, timeout_s: float = PATIENT_S, dead_s: float = PATIENT_S) -> None:
        self.owner, self.wire = Owner(), Wire()
        self.link = Link(self.owner, timeout_s=timeout_s, dead_s=dead_s)
        self.link.connection_made(self.wire)
        self.link.trust()

    def ask(self, word: str, **options):
        return self.link.send(pack(("ECHO", word)), **options)

    def run(self, *arguments: int | str):
        """Run a script by its sha that the server may not know."""
        return self.link.send(pack(("EVALSHA", "0" * 40, *arguments)), source="return 1")

    def hear(self, *replies: bytes) -> None:
        self.link.data_received(b"".join(replies))


def bulk(text: str) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(text.encode()), text.encode())


def failure(future: "asyncio.Future[object]") -> StoreDown:
    error = future.exception()
    assert isinstance(error, StoreDown)
    return error


async def test_commands_of_one_turn_are_one_write():
    line = Line()
    futures = [line.ask(str(i)) for i in range(100)]
    line.link.tell(pack(("PING",)))
    assert line.wire.writes == []
    await turns(2)
    assert line.wire.writes == [b"".join(pack(("ECHO", str(i))) for i in range(100)) + pack(("PING",))]
    futures.append(line.ask("later"))
    await turns(2)
    assert line.wire.writes[1:] == [pack(("ECHO", "later"))]


async def test_replies_go_to_their_callers_in_order_however_they_are_cut():
    line = Line()
    futures = [line.ask(str(i)) for i in range(50)]
    stream = b"".join(bulk(str(i)) for i in range(50))
    for at in range(len(stream)):
        line.hear(stream[at : at + 1])
    assert [future.result() for future in futures] == [str(i).encode() for i in range(50)]


async def test_the_reply_is_decoded_with_its_own_context():
    line = Line()
    first = line.ask("a", decode=lambda reply, context: (reply, context), context=1)
    second = line.ask("b", decode=lambda reply, context: (reply, context), context=2)
    line.hear(bulk("a"), bulk("b"))
    assert (first.result(), second.result()) == ((b"a", 1), (b"b", 2))


async def test_a_reply_of_another_shape_fails_one_caller_only():
    line = Line()
    first = line.ask("a", decode=lambda reply, _: reply["no such thing"])
    second = line.ask("b")
    line.hear(bulk("a"), bulk("b"))
    assert failure(first).kind == "script"
    assert second.result() == b"b"
    assert line.owner.troubles == []


# What happens to each of a row of commands before the replies come: waited for, given up, or told without a waiter.
fates = st.lists(st.sampled_from(["waits", "gives up", "told"]), min_size=1, max_size=40)


@settings(max_examples=100)
@given(before=fates, between=fates)
def test_giving_up_never_shifts_replies(before, between):
    async def play() -> None:
        line = Line()
        waiting: list[tuple[int, asyncio.Future[object]]] = []
        number = 0
        for row in (before, between):
            for fate in row:
                number += 1
                if fate == "told":
                    line.link.tell(pack(("ECHO", str(number))))
                    continue
                future = line.ask(str(number))
                if fate == "gives up":
                    future.cancel()
                else:
                    waiting.append((number, future))
            if row is before:
                line.hear(*(bulk(str(i)) for i in range(1, number // 2 + 1)))
        line.hear(*(bulk(str(i)) for i in range(len(before) // 2 + 1, number + 1)))
        assert [future.result() for _, future in waiting] == [str(i).encode() for i, _ in waiting]

    asyncio.run(play())


async def test_push_messages_are_nobodys_reply():
    line = Line()
    futures = [line.ask(str(i)) for i in range(2)]
    push = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n"
    line.hear(push, bulk("0"), push, push, bulk("1"), push)
    assert [future.result() for future in futures] == [b"0", b"1"]
    assert line.owner.troubles == []


async def test_an_unknown_script_is_sent_once_more_with_its_source():
    line = Line()
    future = line.run(1, "key", "arg")
    behind = line.ask("behind")
    await turns(2)
    line.hear(b"-NOSCRIPT No matching script. Please use EVAL.\r\n")
    await turns(2)
    assert line.wire.writes[1:] == [pack(("EVAL", "return 1", 1, "key", "arg"))]
    line.hear(bulk("behind"), b":1\r\n")
    assert (future.result(), behind.result()) == (1, b"behind")
    assert line.owner.scripts_missing == 1


async def test_a_script_unknown_twice_is_an_error():
    line = Line()
    future = line.run(0)
    line.hear(b"-NOSCRIPT No matching script.\r\n")
    line.hear(b"-NOSCRIPT No matching script.\r\n")
    assert failure(future).kind == "script"


async def test_a_call_given_up_is_not_sent_again():
    """Nobody would use the answer, but it would be charged."""
    line = Line()
    future = line.run(0)
    await turns(2)
    future.cancel()
    line.hear(b"-NOSCRIPT No matching script.\r\n")
    await turns(2)
    assert len(line.wire.writes) == 1


async def test_many_commands_that_miss_the_script_are_one_event():
    line = Line()
    for _ in range(10):
        line.link.tell(pack(("EVALSHA", "0" * 40, 0)), "return 1")
    line.hear(b"-NOSCRIPT No matching script.\r\n" * 10)
    await turns(2)
    assert line.owner.scripts_missing == 1


async def test_an_error_about_one_key_concerns_one_caller():
    line = Line()
    future, next_future = line.ask("a"), line.ask("b")
    line.hear(b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n", bulk("b"))
    assert failure(future).kind == "script"
    assert next_future.result() == b"b"
    assert line.owner.troubles == []


async def test_what_may_be_refused_is_no_trouble():
    line = Line()
    line.link.offer(pack(("SCRIPT", "LOAD", "return 1")))
    line.hear(b"-NOPERM this user has no permissions to run the 'script|load' command\r\n")
    assert line.owner.troubles == []


async def test_an_error_about_the_store_is_trouble():
    line = Line()
    future = line.ask("a")
    line.hear(b"-OOM command not allowed when used memory > 'maxmemory'.\r\n")
    assert failure(future).kind == "other"
    assert [fault.kind for fault in line.owner.troubles] == ["other"]
    assert not line.link.lost


@pytest.mark.parametrize("garbage", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b":1\r\n:2\r\n"])
async def test_what_is_not_an_answer_loses_the_link(garbage):
    """Not the protocol; or one reply more than was asked for, after which nothing can be trusted."""
    line = Line()
    future = line.ask("a", decode=lambda reply, _: reply)
    line.hear(garbage)
    assert line.link.lost
    assert line.wire.aborted
    assert [fault.kind for fault in line.owner.troubles] == ["connect"]
    assert future.done()


async def test_a_lost_link_fails_everybody_once():
    line = Line()
    futures = [line.ask("a"), line.ask("b")]
    given_up = line.ask("c")
    given_up.cancel()
    line.link.connection_lost(ConnectionResetError())
    line.link.connection_lost(None)
    line.link.abort()
    assert [failure(future).kind for future in futures] == ["connect", "connect"]
    assert failure(futures[0]) is not failure(futures[1])
    assert len(line.owner.troubles) == 1


async def trouble(line: Line, count: int) -> None:
    await eventually(lambda: len(line.owner.troubles) >= count)


async def test_one_late_answer_fails_all_waiters_at_once_and_keeps_the_link():
    line = Line(timeout_s=0.02)
    futures = [line.ask("a"), line.ask("b")]
    await trouble(line, 1)
    assert [failure(future).kind for future in futures] == ["timeout", "timeout"]
    assert not line.link.lost
    probe = line.ask("probe")
    line.hear(bulk("a"), bulk("b"), bulk("probe"))
    assert probe.result() == b"probe"


async def test_a_late_answer_is_noticed_in_time_also_right_after_trouble():
    line = Line(timeout_s=0.01)
    late = line.ask("a")
    await trouble(line, 1)
    await eventually(lambda: line.link._look_due_s > monotonic() + 1)
    line.hear(bulk("a"))
    line.link.trust()
    again = line.ask("b")
    await trouble(line, 2)
    assert [failure(future).kind for future in (late, again)] == ["timeout", "timeout"]


async def test_a_link_in_trouble_that_stays_silent_is_lost():
    line = Line(timeout_s=0.01, dead_s=0.03)
    future = line.ask("a")
    await trouble(line, 2)
    assert line.link.lost
    assert [fault.kind for fault in line.owner.troubles] == ["timeout", "timeout"]
    assert failure(future).kind == "timeout"


async def test_answers_in_time_are_no_trouble_however_long_it_goes_on():
    """The one timer is re-armed to the oldest command, not to the oldest ever."""
    line = Line(timeout_s=0.05)
    loop = asyncio.get_running_loop()
    end = loop.time() + 0.2
    answered = 0
    while loop.time() < end and not line.owner.troubles:
        future = line.ask("a")
        await turns()
        line.hear(bulk("a"))
        answered += future.result() == b"a"
    assert line.owner.troubles == []
    assert answered > 1


async def test_an_answer_that_lay_in_the_socket_while_this_process_was_held_up_is_in_time():
    """Held up while it reads another socket: uvloop then runs the timers before it looks at the sockets again."""
    line = Line(timeout_s=0.01)
    ours, theirs = socket.socketpair()
    other, bell = socket.socketpair()
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: line.link, sock=ours)

    def be_held_up() -> None:
        loop.remove_reader(other)
        theirs.send(bulk("a"))
        hold_up(0.05)

    loop.add_reader(other, be_held_up)
    future = line.ask("a")
    await turns(2)
    bell.send(b"!")
    assert await future == b"a"
    assert line.owner.troubles == []
    for sock in (theirs, other, bell):
        sock.close()
    await line.link.close()


async def test_a_command_held_up_with_this_process_on_its_way_out_gets_its_time():
    line = Line(timeout_s=0.04)
    future = line.ask("a")
    timer = line.link._timer
    hold_up(0.1)  # a collection, a busy loop: nothing was sent yet
    await eventually(lambda: line.wire.writes and line.link._timer is not timer)
    await turns(2)  # a judge would have had his
    assert line.owner.troubles == []
    line.hear(bulk("a"))
    assert future.result() == b"a"


async def test_a_process_that_is_held_up_all_the_time_finds_a_dead_server_all_the_same():
    line = Line(timeout_s=0.01)
    future = line.ask("a")
    held_up = 0
    while not line.owner.troubles:
        hold_up(0.02)
        held_up += 1
        await turns()
    assert failure(future).kind == "timeout"
    assert held_up < 50


async def test_a_process_that_is_held_up_all_the_time_does_not_blame_a_server_that_answers():
    line = Line(timeout_s=0.01)
    for _ in range(10):
        future = line.ask("a")
        hold_up(0.03)
        await turns(5)
        line.hear(bulk("a"))
        assert future.result() == b"a"
    assert line.owner.troubles == []


async def test_who_waits_may_be_given_up_by_who_hears_of_the_trouble():
    line = Line()
    waiting = [line.ask("a"), line.ask("b")]
    line.owner.on_trouble = lambda _fault: waiting[0].cancel()
    line.hear(b"-LOADING reads its data\r\n", bulk("b"))
    assert waiting[0].cancelled()
    assert waiting[1].result() == b"b"
