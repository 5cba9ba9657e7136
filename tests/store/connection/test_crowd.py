"""Questions of one form and one turn are one command: played by hand, as in test_link.py."""

import asyncio
from collections import Counter as Tally
from collections.abc import Sequence

import hiredis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gateway.store.connection.crowd as crowd
from gateway.store import StoreDown
from gateway.store.connection.link import pack
from tests.fakes.waiting import turns
from tests.store.connection.test_link import Line, failure, trouble

NOSCRIPT = b"-NOSCRIPT No matching script. Please use EVAL.\r\n"


Asked = Sequence[tuple[str, int]]


def one(reply: bytes, word: str) -> str:
    return f"{word}: {reply.decode()}"


def said(word: str) -> bytes:
    return said_all([(word, 1)])


def said_all(asked: Asked) -> bytes:
    return pack(("EVALSHA", "0" * 40, *[part for word, times in asked for part in (word, times)]))


class Words:
    """A form whose questions are words."""

    source, once, decode, several = "return 1", staticmethod(said), staticmethod(one), staticmethod(said_all)
    question = staticmethod(str.lower)

    def decode_several(self, reply: list[bytes], asked: Asked) -> list[str | Exception]:
        words = [word for word, times in asked for _ in range(times)]
        answers = zip(words, reply, strict=True)
        return [answer if isinstance(answer, Exception) else one(answer, word) for word, answer in answers]


class Crowded(Line):
    def wonder(self, word: str) -> "asyncio.Future[str]":
        """Words that begin with the same letter may share a command."""
        return self.link.send_in(Words(), word, word[0])


def array(*texts: str) -> bytes:
    return b"*%d\r\n" % len(texts) + b"".join(b"$%d\r\n%s\r\n" % (len(text), text.encode()) for text in texts)


def bulk(text: str) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(text), text.encode())


async def test_who_asks_the_same_in_one_turn_shares_a_command():
    line = Crowded()
    first, other, second, third = (line.wonder(word) for word in "abaa")
    await turns(2)
    assert line.wire.writes == [said_all([("a", 3)]) + said("b")]
    line.hear(array("1", "2", "3"), bulk("4"))
    assert [future.result() for future in (first, second, third, other)] == ["a: 1", "a: 2", "a: 3", "b: 4"]


async def test_in_the_next_turn_there_is_another_command():
    line = Crowded()
    first = [line.wonder("a"), line.wonder("a")]
    await turns(2)
    second, alone = [line.wonder("a"), line.wonder("a")], line.wonder("b")
    await turns(2)
    assert line.wire.writes == [said_all([("a", 2)]), said_all([("a", 2)]) + said("b")]
    line.hear(array("1", "2"), array("3", "4"), bulk("5"))
    assert [future.result()[-1] for future in (*first, *second, alone)] == list("12345")


async def test_who_gave_up_before_it_was_sent_is_not_asked_for():
    line = Crowded()
    futures = [line.wonder("a") for _ in range(4)]
    futures[0].cancel()
    futures[2].cancel()
    await turns(2)
    assert line.wire.writes == [said_all([("a", 2)])]
    line.hear(array("1", "2"))
    assert [futures[1].result(), futures[3].result()] == ["a: 1", "a: 2"]


@pytest.mark.parametrize("left", [0, 1])
async def test_whoever_is_left_alone_is_asked_for_as_ever(left):
    line = Crowded()
    futures = [line.wonder("a") for _ in range(3)]
    for future in futures[left:]:
        future.cancel()
    await turns(2)
    assert line.wire.writes == [said("a")]
    behind = line.wonder("a")
    line.hear(bulk("1"), bulk("2"))
    assert behind.result() == "a: 2"
    assert [future.result() for future in futures[:left]] == ["a: 1"][:left]


async def test_a_crowd_is_bounded(monkeypatch):
    monkeypatch.setattr(crowd, "MOST_CALLS", 3)
    line = Crowded()
    futures = [line.wonder("a") for _ in range(7)]
    await turns(2)
    assert line.wire.writes == [said_all([("a", 3)]) + said_all([("a", 3)]) + said("a")]
    line.hear(array("1", "2", "3"), array("4", "5", "6"), bulk("7"))
    assert [future.result()[-1] for future in futures] == list("1234567")


async def test_so_is_what_it_asks(monkeypatch):
    monkeypatch.setattr(crowd, "MOST_QUESTIONS", 2)
    line = Crowded()
    futures = [line.wonder(word) for word in ("a1", "a2", "a1", "a3", "a2")]
    await turns(2)
    assert line.wire.writes == [said_all([("a1", 2), ("a2", 1)]) + said_all([("a3", 1), ("a2", 1)])]
    line.hear(array("1", "2", "3"), array("4", "5"))
    assert [future.result() for future in futures] == ["a1: 1", "a2: 3", "a1: 2", "a3: 4", "a2: 5"]


async def test_who_asks_something_like_it_in_one_turn_shares_a_command():
    line = Crowded()
    futures = [line.wonder(word) for word in ("a1", "b", "a2", "a1", "a3")]
    await turns(2)
    assert line.wire.writes == [said_all([("a1", 2), ("a2", 1), ("a3", 1)]) + said("b")]
    line.hear(array("1", "2", "3", "4"), bulk("5"))
    assert [future.result() for future in futures] == ["a1: 1", "b: 5", "a2: 3", "a1: 2", "a3: 4"]


async def test_what_is_asked_in_other_words_is_the_same_question():
    line = Crowded()
    futures = [line.wonder(word) for word in ("ab", "ac", "aB")]
    await turns(2)
    assert line.wire.writes == [said_all([("ab", 2), ("ac", 1)])]
    line.hear(array("1", "2", "3"))
    assert [future.result() for future in futures] == ["ab: 1", "ac: 3", "ab: 2"]


async def test_what_nobody_asks_any_more_is_left_out():
    line = Crowded()
    futures = [line.wonder(word) for word in ("a1", "a2", "a3", "a2")]
    futures[0].cancel()
    futures[1].cancel()
    await turns(2)
    assert line.wire.writes == [said_all([("a2", 1), ("a3", 1)])]
    line.hear(array("1", "2"))
    assert [futures[2].result(), futures[3].result()] == ["a3: 2", "a2: 1"]


async def test_the_last_who_waits_is_asked_for_alone():
    line = Crowded()
    futures = [line.wonder(word) for word in ("a1", "a2", "a3")]
    futures[0].cancel()
    futures[2].cancel()
    await turns(2)
    assert line.wire.writes == [said("a2")]
    line.hear(bulk("1"))
    assert futures[1].result() == "a2: 1"


async def test_an_error_in_an_answer_is_of_those_who_asked_that():
    line = Crowded()
    futures = [line.wonder(word) for word in ("a1", "a2", "a3")]
    await turns(2)
    line.hear(b"*3\r\n$1\r\n1\r\n-ERR cannot be read\r\n$1\r\n3\r\n")
    assert [futures[0].result(), futures[2].result()] == ["a1: 1", "a3: 3"]
    assert (failure(futures[1]).kind, failure(futures[1]).nothing_ran) == ("script", False)
    assert line.owner.troubles == []


async def test_an_error_in_an_answer_may_be_about_the_store():
    line = Crowded()
    futures = [line.wonder(word) for word in ("a1", "a2")]
    await turns(2)
    line.hear(b"*2\r\n-OOM command not allowed\r\n$1\r\n2\r\n")
    assert failure(futures[0]).nothing_ran
    assert futures[1].result() == "a2: 2"
    assert [fault.kind for fault in line.owner.troubles] == ["other"]


async def test_an_unknown_script_is_sent_once_more_for_all():
    line = Crowded()
    futures = [line.wonder("a") for _ in range(3)]
    await turns(2)
    line.hear(NOSCRIPT)
    alone = line.wonder("a")
    await turns(2)
    assert line.wire.writes[1:] == [pack(("EVAL", "return 1", "a", 3)) + said("a")]
    line.hear(array("1", "2", "3"), bulk("4"))
    assert [future.result()[-1] for future in (*futures, alone)] == list("1234")


async def test_a_crowd_that_gave_up_is_not_asked_for_again():
    line = Crowded()
    futures = [line.wonder("a") for _ in range(3)]
    await turns(2)
    for future in futures:
        future.cancel()
    line.hear(NOSCRIPT)
    await turns(2)
    assert len(line.wire.writes) == 1


async def test_an_error_is_everybodys_own():
    line = Crowded()
    futures = [line.wonder("a") for _ in range(3)]
    futures[1].cancel()
    await turns(2)
    line.hear(b"-OOM command not allowed when used memory > 'maxmemory'.\r\n")
    first, third = failure(futures[0]), failure(futures[2])
    assert (first.kind, first.detail, first.nothing_ran) == (third.kind, third.detail, True)
    assert str(first) == str(third)
    assert first is not third
    assert [fault.kind for fault in line.owner.troubles] == ["other"]


@pytest.mark.parametrize("reply", [array("1", "2"), array("1", "2", "3", "4"), b":1\r\n"])
async def test_a_reply_for_others_fails_all_of_them_and_nobody_else(reply):
    line = Crowded()
    futures, other = [line.wonder("a") for _ in range(3)], line.wonder("b")
    await turns(2)
    line.hear(reply, bulk("5"))
    assert [failure(future).kind for future in futures] == ["script"] * 3
    assert other.result() == "b: 5"


async def test_a_late_answer_fails_all_and_reaches_nobody_any_more():
    line = Crowded(timeout_s=0.02)
    futures = [line.wonder("a") for _ in range(3)]
    await trouble(line, 1)
    assert [failure(future).kind for future in futures] == ["timeout"] * 3
    probe = line.ask("probe")
    line.hear(array("1", "2", "3"), bulk("probe"))
    assert probe.result() == b"probe"


@pytest.mark.parametrize("sent", [True, False])
async def test_a_lost_link_fails_everybody_once(sent):
    line, crashes = Crowded(), []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, crash: crashes.append(crash))
    futures = [line.wonder("a") for _ in range(3)]
    if sent:
        await turns(2)
    line.link.connection_lost(ConnectionResetError())
    await turns(2)
    faults = [failure(future) for future in futures]
    assert [fault.kind for fault in faults] == ["connect"] * 3
    assert len(set(map(id, faults))) == 3
    assert len(line.wire.writes) == sent
    assert crashes == []


async def test_who_goes_on_may_make_others_give_up():
    line = Crowded()
    futures = [line.wonder("a") for _ in range(3)]

    class Run:
        def step(self) -> None:
            futures[1].cancel()

    futures[0].run = Run()
    await turns(2)
    line.hear(array("1", "2", "3"))
    assert futures[1].cancelled()
    assert futures[2].result() == "a: 3"


async def test_who_hears_of_a_fault_may_make_others_give_up():
    line = Crowded()
    futures = [line.wonder("a") for _ in range(2)]
    line.owner.on_trouble = lambda _fault: futures[1].cancel()
    await turns(2)
    line.hear(b"-LOADING reads its data\r\n")
    assert failure(futures[0]).kind == "busy"
    assert futures[1].cancelled()


async def test_a_server_that_answers_what_was_not_sent_yet_hurts_nobody_else():
    line = Crowded()
    first = line.wonder("a")
    line.hear(bulk("1"))
    assert first.result() == "a: 1"
    second, third = line.wonder("a"), line.wonder("a")
    line.hear(array("2", "3"))
    assert [failure(future).kind for future in (second, third)] == ["script"] * 2
    await turns(2)


class Numbering:
    """A server at the other end of a link: it numbers the calls for each word."""

    def __init__(self) -> None:
        self.reader, self.numbers = hiredis.Reader(), Tally[str]()

    def replies(self, written: bytes) -> bytes:
        self.reader.feed(written)
        return b"".join(iter(self._reply, b""))

    def _reply(self) -> bytes:
        command = self.reader.gets()
        if command is False:
            return b""
        asked = zip(command[2::2], command[3::2], strict=True)
        texts = [self._next(word.decode()) for word, times in asked for _ in range(int(times))]
        return array(*texts) if len(texts) > 1 else bulk(texts[0])

    def _next(self, word: str) -> str:
        self.numbers[word] += 1
        return str(self.numbers[word])


# What each of a row of callers asks, and whether it gives up: before its question is sent, after, or not.
rows = st.lists(
    st.tuples(st.sampled_from(["a1", "a1", "a2", "a3", "b", "c"]), st.sampled_from(["waits", "before", "after"])),
    max_size=30,
)


@settings(max_examples=100)
@given(crowd=st.lists(rows, min_size=1, max_size=4), cut=st.integers(1, 40))
def test_everybody_hears_an_answer_to_their_own_question_in_order(crowd, cut):
    async def play() -> None:
        line, heard = Crowded(), list[tuple[str, asyncio.Future[str]]]()
        for row in crowd:
            asked = [(word, fate, line.wonder(word)) for word, fate in row]
            for leaves in ("before", "after"):
                for _, fate, future in asked:
                    if fate == leaves:
                        future.cancel()
                await turns(2)
            heard += [(word, future) for word, fate, future in asked if fate == "waits"]
        stream = Numbering().replies(b"".join(line.wire.writes))
        for at in range(0, len(stream), cut):
            line.hear(stream[at : at + cut])
        assert not line.link.lost
        for word in ("a1", "a2", "a3", "b", "c"):
            answers = [future.result() for one, future in heard if one == word]
            assert all(answer.startswith(f"{word}: ") for answer in answers)
            numbers = [int(answer.partition(" ")[2]) for answer in answers]
            assert numbers == sorted(set(numbers))

    asyncio.run(play())


def test_a_fault_again_is_the_same_for_somebody_else():
    fault = StoreDown("busy", "loads")
    fault.nothing_ran = True
    again = fault.again()
    assert again is not fault
    assert (again.kind, again.detail, again.nothing_ran, str(again)) == ("busy", "loads", True, "busy: loads")
