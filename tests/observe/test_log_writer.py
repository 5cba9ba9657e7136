"""Lines stay whole and in order, and nothing that happens to their reader reaches a call."""

import asyncio
import errno
import fcntl
import multiprocessing
import os
import struct
import sys
import termios
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from gateway.observe.log import midline, turns
from gateway.observe.log import writer as writer_module
from gateway.observe.log.writer import FLUSH_BYTES, HELD_BYTES, LineWriter, Telling, writer_for
from tests.fakes import waiting
from tests.fakes.waiting import eventually

LINE = b'{"n":%06d,"text":"' + b"x" * 300 + b'"}\n'


def described(count: int) -> bytes:
    return b'{"dropped":%d}\n' % count


async def until(path: Path, size: int) -> bytes:
    """The file once it has `size` bytes; the test's own timeout ends a wait for what never comes."""
    await eventually(lambda: path.exists() and path.stat().st_size >= size)
    return path.read_bytes()


def test_without_a_loop_a_line_is_written_at_once(tmp_path: Path) -> None:
    path = tmp_path / "log"
    writer = LineWriter(str(path))
    writer.write(b"one\n")
    assert path.read_bytes() == b"one\n"
    assert writer._thread is None
    writer.close()


async def test_lines_are_collected_and_written_by_a_timer(tmp_path: Path) -> None:
    path = tmp_path / "log"
    writer = LineWriter(str(path))
    writer.write(b"one\n")
    writer.write(b"two\n")
    assert not path.exists()
    assert await until(path, 8) == b"one\ntwo\n"
    writer.close()


async def test_a_full_buffer_does_not_wait_for_the_timer(tmp_path: Path) -> None:
    path = tmp_path / "log"
    writer = LineWriter(str(path))
    count = FLUSH_BYTES // len(LINE % 0) + 1
    for n in range(count):
        writer.write(LINE % n)
    assert writer._timer is None
    assert await until(path, count * len(LINE % 0)) == b"".join([LINE % n for n in range(count)])
    writer.close()


async def test_close_writes_what_is_left_and_later_lines_still_come(tmp_path: Path) -> None:
    path = tmp_path / "log"
    writer = LineWriter(str(path))
    writer.write(b"one\n")
    writer.close()
    assert path.read_bytes() == b"one\n"
    writer.close()
    writer.write(b"two\n")
    writer.close()
    assert path.read_bytes() == b"one\ntwo\n"


def test_a_file_is_appended_to_and_opened_anew_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"zero\n")
    writer = LineWriter(str(path))
    writer.write(b"one\n")
    path.rename(tmp_path / "log.1")
    writer.write(b"two\n")
    writer.reopen()
    writer.write(b"three\n")
    assert (tmp_path / "log.1").read_bytes() == b"zero\none\ntwo\n"
    assert path.read_bytes() == b"three\n"
    writer.close()


def test_a_file_that_cannot_be_opened_anew_is_gone_on_with(tmp_path: Path) -> None:
    path, rotated = tmp_path / "log", tmp_path / "log.1"
    writer = LineWriter(str(path), Telling(described))
    writer.write(b"one\n")
    path.rename(rotated)
    path.mkdir()
    writer.reopen()
    writer.write(b"two\n")
    assert (rotated.read_bytes(), writer.dropped) == (b"one\ntwo\n", 0)
    rotated.unlink()
    writer.write(b"three\n")
    assert writer.dropped == 1
    path.rmdir()
    writer.write(b"four\n")
    assert path.read_bytes() == b'four\n{"dropped":1}\n'
    writer.close()


def test_off_writes_nothing() -> None:
    writer = LineWriter("off")
    writer.write(b"one\n")
    writer.flush()
    assert writer.dropped == 0


def test_one_writer_a_destination(tmp_path: Path) -> None:
    assert writer_for(str(tmp_path / "a")) is writer_for(str(tmp_path / "a"))
    assert writer_for(str(tmp_path / "a")) is not writer_for(str(tmp_path / "b"))


async def test_a_host_without_a_thread_to_give_costs_lines_until_it_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    path = tmp_path / "log"
    writer = LineWriter(str(path), Telling(described))
    with monkeypatch.context() as host:
        host.setattr(threading.Thread, "start", none)
        writer.write(b"one\n")
        writer.close()
        assert writer.dropped == 1
    writer.write(b"two\n")
    writer.close()
    assert path.read_bytes() == b'two\n{"dropped":1}\n'


def test_a_directory_that_is_missing_costs_lines_until_it_is_there(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "log"
    writer = LineWriter(str(path), Telling(described))
    writer.write(b"one\n")
    writer.write(b"two\n")
    assert writer.dropped == 2
    path.parent.mkdir()
    writer.write(b"three\n")
    writer.write(b"four\n")
    assert path.read_bytes() == b'three\n{"dropped":2}\nfour\n'
    writer.close()


def test_a_reader_that_is_gone_costs_lines_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    monkeypatch.setitem(writer_module._STREAMS, "stdout", writing)
    writer = LineWriter("stdout", Telling(described))
    os.close(reading)
    writer.write(b"one\n")
    assert writer.dropped == 1
    os.close(writing)
    writer.write(b"two\n")  # not even a file descriptor is left
    assert writer.dropped == 2


def _disk(monkeypatch: pytest.MonkeyPatch, free_bytes: int) -> list[int]:
    """A disk with so much room, which may be changed."""
    room = [free_bytes]

    def full(fd: int, data: memoryview) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        size = min(room[0], len(data))
        room[0] -= size
        return real_write(fd, data[:size])

    real_write = os.write
    monkeypatch.setattr(os, "write", full)
    return room


async def test_only_what_the_disk_has_not_taken_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of lines that went out together, too."""
    path = tmp_path / "log"
    writer = LineWriter(str(path), Telling(described))
    room = _disk(monkeypatch, 13)
    for number in range(5):
        writer.write(b"line%d\n" % number)
    await eventually(lambda: writer.dropped)
    room[0] = 1_000
    writer.write(b"last\n")
    writer.close()
    assert path.read_bytes() == b'line0\nline1\nl\nlast\n{"dropped":3}\n'
    assert writer.dropped == 3


def test_a_disk_that_fills_up_in_mid_line_breaks_no_other_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    writer = LineWriter(str(path), Telling(described))
    room = _disk(monkeypatch, 4)
    writer.write(b"one\ntwo\n")
    writer.write(b"lost\n")
    room[0] = 2
    writer.write(b"torn\n")
    room[0] = 1_000
    writer.write(b"four\n")
    assert path.read_bytes() == b'one\nto\nfour\n{"dropped":3}\n'
    writer.close()


@pytest.mark.parametrize("left", [b"", b'{"n":1}\n', b'{"n":1}\n{"n":2,"te'])
@pytest.mark.parametrize("name", ["file", "stdout"])
def test_a_line_that_somebody_left_unfinished_in_a_file_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: bytes, name: str
) -> None:
    """By a worker that was killed, or a gateway, or a whole host."""
    path = tmp_path / "log"
    path.write_bytes(left)
    with path.open("ab") as appended:
        monkeypatch.setitem(writer_module._STREAMS, "stdout", appended.fileno())
        writer = LineWriter(str(path) if name == "file" else name)
        writer.write(b"one\n")
        writer.write(b"two\n")
    assert path.read_bytes() == left + b"\n" * (not left.endswith(b"\n") and left != b"") + b"one\ntwo\n"
    writer.close()


def _write_until_killed(fd: int) -> None:
    writer_module._STREAMS["stdout"] = fd
    LineWriter("stdout").write(b"x" * 1_000_000 + b"\n")


def in_pipe(fd: int) -> int:
    """Bytes that nobody has read yet."""
    size: int = struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, b"\0" * 4))[0]
    return size


@pytest.mark.parametrize("another", [False, True])
def test_a_line_that_a_killed_process_left_unfinished_in_a_pipe_is_ended(
    monkeypatch: pytest.MonkeyPatch, another: bool
) -> None:
    """By whichever process of the gateway writes next."""
    monkeypatch.setattr(midline, "_marks", midline._marks)
    midline.share_marks()
    reading, writing = os.pipe()
    monkeypatch.setitem(writer_module._STREAMS, "stdout", writing)
    context = multiprocessing.get_context("fork")
    stuck = context.Process(target=_write_until_killed, args=(writing,))
    stuck.start()
    waiting.until(lambda: in_pipe(reading) >= 65_536, "a pipe has no more room")
    stuck.kill()
    stuck.join()
    received = os.read(reading, 1_000_000)
    writer = LineWriter("stdout")
    if another:
        child = context.Process(target=writer.write, args=(b"another\n",))
        child.start()
        child.join()
    writer.write(b"one\n")
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        received += pipe.read()
    assert received.lstrip(b"x") == (b"\nanother\none\n" if another else b"\none\n")


async def test_a_reader_that_does_not_read_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    monkeypatch.setitem(writer_module._STREAMS, "stdout", writing)
    monkeypatch.setattr(writer_module, "CLOSE_S", 0.05)
    writer = LineWriter("stdout", Telling(described))
    big = b"x" * 1023 + b"\n"
    count = HELD_BYTES // len(big) + 1_000
    for _ in range(count):
        writer.write(big)
    writer.flush()
    assert 0 < writer.dropped < count
    received = bytearray()

    def read_all() -> None:
        while data := os.read(reading, 1 << 20):
            received.extend(data)

    thread = threading.Thread(target=read_all)
    thread.start()
    await eventually(lambda: writer._done_bytes >= writer._handed_bytes)
    writer.write(b"last\n")
    monkeypatch.setattr(writer_module, "CLOSE_S", 10.0)
    writer.close()
    os.close(writing)
    await asyncio.to_thread(thread.join)
    os.close(reading)
    assert received.count(big) == count - writer.dropped
    assert received.count(b'{"dropped":') == 1
    assert received.endswith(b"last\n")


def _full_pipe(monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Both ends of what is standard output now; nobody reads, and there is no room."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while os.write(writing, b"x" * 4096):
            pass
    os.set_blocking(writing, True)
    monkeypatch.setitem(writer_module._STREAMS, "stdout", writing)
    return reading, writing


async def test_what_still_waits_for_its_reader_at_the_end_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "CLOSE_S", 0.01)
    reading, writing = _full_pipe(monkeypatch)
    writer = LineWriter("stdout")
    writer.write(b"one\n")
    writer.flush()
    await eventually(writer._work.empty)
    for line in (b"two\n", b"three\n"):
        writer.write(line)
    thread = writer._thread
    assert thread is not None
    writer.close()
    assert writer.dropped == 2, "the first may go out yet"
    os.close(reading)
    await asyncio.to_thread(thread.join)
    assert writer.dropped == 3
    os.close(writing)


def test_a_process_without_a_loop_gives_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor that hangs on its log could not stop its workers."""
    reading, writing = _full_pipe(monkeypatch)
    writer = LineWriter("stdout")
    writer.write(b"one\n")
    assert writer.dropped == 1
    os.close(reading)
    os.close(writing)


def _hold(path: Path, held: Connection) -> None:
    with path.open("ab") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        held.send(True)
        held.recv()


def test_a_process_without_a_loop_waits_for_its_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever writes now may not get to run for a while."""
    monkeypatch.setattr(turns, "TURN_S", 60.0)
    path = tmp_path / "log"
    context = multiprocessing.get_context("fork")
    held, theirs = context.Pipe()
    other = context.Process(target=_hold, args=(path, theirs))
    other.start()
    held.recv()
    writer = LineWriter(str(path))
    telling = threading.Thread(target=writer.write, args=(b"one\n",))
    telling.start()
    waiting.hold_up(3 * turns.IMPATIENT_S)
    held.send(True)
    telling.join()
    other.join()
    assert (path.read_bytes(), writer.dropped) == (b"one\n", 0)
    writer.close()


async def test_a_pipe_that_somebody_made_non_blocking_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    monkeypatch.setitem(writer_module._STREAMS, "stdout", writing)
    writer = LineWriter("stdout")
    sent = b"".join([LINE % n for n in range(2_000)])
    for n in range(2_000):
        writer.write(LINE % n)
    received = b""
    while len(received) < len(sent):
        writer.flush()
        received += await asyncio.to_thread(os.read, reading, 65_536)
    assert received == sent
    writer.close()
    os.close(reading)
    os.close(writing)


def _write_many(fd: int, process: int) -> None:
    async def main() -> None:
        writer_module._STREAMS["stdout"] = fd
        writer = LineWriter("stdout")
        for n in range(3_000):
            writer.write(LINE % (process * 10_000 + n))
        writer.close()

    writer_module.CLOSE_S = 30.0
    asyncio.run(main())


def test_lines_of_several_processes_on_one_pipe_stay_whole_and_in_order() -> None:
    reading, writing = os.pipe()
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_write_many, args=(writing, number)) for number in range(3)]
    for worker in workers:
        worker.start()
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        lines = pipe.read().splitlines(keepends=True)
    for worker in workers:
        worker.join()
    assert sorted(lines) == [LINE % (process * 10_000 + n) for process in range(3) for n in range(3_000)]
    for process in range(3):
        mine = [line for line in lines if int(line[5:11]) // 10_000 == process]
        assert mine == sorted(mine)


def _write_both(fd: int) -> None:
    async def main() -> None:
        os.dup2(fd, 1)
        os.dup2(fd, 2)
        writers = LineWriter("stdout"), LineWriter("stderr")
        for n in range(2_000):
            for number, writer in enumerate(writers):
                writer.write(LINE % (number * 10_000 + n))
                writer.flush()
        for writer in writers:
            writer.close()

    sys.setswitchinterval(1e-5)  # its threads meet often
    midline.share_marks()
    writer_module.CLOSE_S = 30.0
    asyncio.run(main())


def test_lines_of_one_process_to_both_streams_stay_whole_where_these_are_one_pipe() -> None:
    """The kernel's lock does not keep its threads apart: none takes another's line on its way for a broken one."""
    reading, writing = os.pipe()
    worker = multiprocessing.get_context("fork").Process(target=_write_both, args=(writing,))
    worker.start()
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        lines = pipe.read().splitlines(keepends=True)
    worker.join()
    assert sorted(lines) == [LINE % (number * 10_000 + n) for number in range(2) for n in range(2_000)]


async def test_lines_that_cannot_be_written_because_of_an_error_of_ours_are_not_the_last(tmp_path: Path) -> None:
    """The thread would be gone, and with it all that is logged from then on."""
    described_before: list[int] = []

    def fail_once(count: int) -> bytes:
        described_before.append(count)
        if len(described_before) == 1:
            raise ArithmeticError
        return described(count)

    path = tmp_path / "there" / "log"
    writer = LineWriter(str(path), Telling(dropped=fail_once))
    writer.write(b"lost\n")
    writer.flush()
    await eventually(lambda: writer.dropped == 1)
    path.parent.mkdir()
    writer.write(b"one\n")
    writer.flush()
    await eventually(lambda: described_before)
    writer.write(b"two\n")
    assert await until(path, 8 + len(described(1))) == b"one\ntwo\n" + described(1)
    writer.close()
