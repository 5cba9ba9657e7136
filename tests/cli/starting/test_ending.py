"""A gateway that ends, or loses a worker, under load: nothing is cut, nothing is left behind."""

import http.client
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Start
from tests.fakes.waiting import until

NOT_TAKEN = {"RemoteDisconnected", "ConnectionResetError", "BrokenPipeError"}
"""What a caller sees whose request crossed the closing of its idle connection: not a byte of an answer."""


class Load(threading.Thread):
    """A caller with one connection that makes call after call until it is told to stop or the gateway closes."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.port = port
        self.answers = 0
        self.trouble: list[str] = []
        self.stop = False

    def run(self) -> None:
        while not self.stop:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
                connection.connect()
            except OSError:  # refused, or reset on the way in: it listens no longer
                return
            self.converse(connection)

    def converse(self, connection: http.client.HTTPConnection) -> None:
        try:
            while not self.stop:
                connection.request("GET", "/hello")
                answer = connection.getresponse()
                answer.read()
                if answer.status not in (200, 429):
                    self.trouble.append(str(answer.status))
                self.answers += 1
                if answer.will_close:
                    return
        except (http.client.HTTPException, OSError) as error:
            self.trouble.append(type(error).__name__)
        finally:
            connection.close()


@pytest.fixture
def callers() -> Iterator[list[Load]]:
    threads: list[Load] = []
    yield threads
    for thread in threads:
        thread.stop = True
        thread.join()


@pytest.mark.parametrize("workers", ["1", "3"])
def test_sigterm_under_load_cuts_no_answer(start_gateway: Start, callers: list[Load], workers: str) -> None:
    process = start_gateway("--workers", workers, env={"GATEWAY_DRAIN__DELAY": "200ms"})
    callers += [Load(process.port) for _ in range(8)]
    for caller in callers:
        caller.start()
    until(lambda: all(caller.answers > 20 for caller in callers), "every caller to be busy")
    process.popen.send_signal(signal.SIGTERM)
    process.ends_well()
    for caller in callers:
        caller.join()
    assert sum(caller.answers for caller in callers) == len(process.events("http.access")), "a call taken is answered"
    assert {trouble for caller in callers for trouble in caller.trouble} <= NOT_TAKEN


def test_a_killed_worker_is_replaced_and_the_others_go_on(start_gateway: Start, callers: list[Load]) -> None:
    process = start_gateway("--workers", "2")
    started = process.wait_for("worker.started", 2)
    callers += [Load(process.port) for _ in range(8)]
    for caller in callers:
        caller.start()
    until(lambda: all(caller.answers > 5 for caller in callers), "every caller to be busy")
    os.kill(started[0]["pid"], signal.SIGKILL)
    process.wait_for("worker.started", 3)
    before = [caller.answers for caller in callers]
    until(lambda: all(c.answers > b for c, b in zip(callers, before, strict=True)), "every caller to be served again")
    assert all(len(caller.trouble) <= 1 for caller in callers), "at most the call that was in the dead worker's hands"
    assert b"\ngateway_worker_restarts_total 1.0\n" in process.get("/metrics", admin=True).body  # type: ignore[attr-defined]
    assert not process.ended()


def test_a_second_signal_does_not_wait(start_gateway: Start) -> None:
    process = start_gateway("--workers", "2", env={"GATEWAY_DRAIN__DELAY": "10m"})
    process.popen.send_signal(signal.SIGTERM)
    until(lambda: process.get("/readyz", admin=True).status == 503, "draining")
    process.popen.send_signal(signal.SIGINT)
    process.ends_well()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_signals_until_the_last_moment_change_nothing(start_gateway: Start, workers: str, runtime: Path) -> None:
    """It ends in order, and leaves neither files nor a store behind."""
    process = start_gateway("--workers", workers, fresh=True)
    until(lambda: process.popen.send_signal(signal.SIGTERM) or process.ended(), "the end", gap_s=0.0005)
    process.ends_well()
    assert list(runtime.iterdir()) == []
