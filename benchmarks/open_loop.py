"""Calls at a fixed rate, whether or not answers come: `python -m benchmarks.open_loop PORT RATE CALLERS SECONDS`.

A closed loop waits for a slow answer before it sends on, and so never sees what the callers behind it wait for. Here
each call has its time from the beginning, and its latency counts from then. Arrivals are those of independent callers
(exponential gaps, the same ones in every run). One thread, sockets that block nowhere, no event loop: timers of an
event loop have a millisecond's resolution, more than what is measured. Prints JSON: latencies, and how late calls were
sent, in microseconds.
"""

import ctypes
import json
import random
import re
import select
import socket
import sys
import time
from collections import deque

CALL = b"GET /v1/items?x=1 HTTP/1.1\r\nHost: api.example.com\r\nX-Tenant: t%d\r\nX-Connection: c%d\r\n\r\n"
SPIN_S = 0.0002
_PR_SET_TIMERSLACK = 29
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


class Caller:
    """One keep-alive connection with at most one call in flight."""

    def __init__(self, port: int, number: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.due = 0.0
        self._call = CALL % (number, number)
        self._got = b""

    def fileno(self) -> int:
        """For select."""
        return self.socket.fileno()

    def send(self, due: float) -> None:
        """Begin the call that is due at `due`."""
        self.due, self._got = due, b""
        self.socket.sendall(self._call)

    def answered(self) -> bool:
        """Take what has come; whether the answer is whole. Anything but a 200 ends the program."""
        self._got += self.socket.recv(65536)
        head, end, body = self._got.partition(b"\r\n\r\n")
        if not self._got.startswith(b"HTTP/1.1 200"[: len(self._got)]) or not self._got:
            raise SystemExit(f"wrong answer: {self._got[:200]!r}")
        length = _LENGTH.search(head)
        if end and length is None:
            raise SystemExit(f"answer without a length: {head!r}")
        return bool(end and length and len(body) == int(length[1]))


def schedule(rate: float, seconds: float) -> list[float]:
    """When calls are due, in seconds from the beginning."""
    draw = random.Random(1)
    due, times = 0.0, []
    while (due := due + draw.expovariate(rate)) < seconds:
        times.append(due)
    return times


def run(callers: list[Caller], times: list[float]) -> tuple[list[float], list[float]]:
    """(latency of each call, how late each was sent), microseconds."""
    free, busy = deque(callers), set[Caller]()
    waiting = deque(times)
    latencies, lags = [], []
    start = time.perf_counter() + 0.05
    while waiting or busy:
        now = time.perf_counter() - start
        if waiting and waiting[0] <= now and free:
            caller = free.popleft()
            caller.send(waiting.popleft())
            lags.append((now - caller.due) * 1e6)
            busy.add(caller)
            continue
        left_s = waiting[0] - now if waiting and free else 1.0
        for caller in select.select(list(busy), (), (), max(0.0, left_s - SPIN_S))[0]:
            if caller.answered():
                latencies.append((time.perf_counter() - start - caller.due) * 1e6)
                busy.remove(caller)
                free.append(caller)
    return latencies, lags


def main() -> None:
    """Warm the connections up, then measure."""
    port, rate, count, seconds = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
    callers = [Caller(port, number) for number in range(count)]
    run(callers, [number / rate for number in range(count)])
    latencies, lags = run(callers, schedule(rate, seconds))
    print(json.dumps({"latency_us": latencies, "lag_us": lags}))


if __name__ == "__main__":
    main()
