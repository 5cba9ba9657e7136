"""Callers that never stop calling, while something is done to the gateway."""

import http.client
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

PACE_S = 0.002
"""Between two calls of one caller: who starts or loads meanwhile needs the processor, too."""


@contextmanager
def calling(port: int, callers: Sequence[Mapping[str, str]], path: str = "/x") -> Iterator[Counter[str]]:
    """One caller for each of these header fields, one call after the other on a kept connection; what became of them."""
    seen: Counter[str] = Counter()
    over = threading.Event()

    def call(fields: Mapping[str, str]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        while not over.wait(PACE_S):
            try:
                connection.request("GET", path, headers=dict(fields))
                answer = connection.getresponse()
                answer.read()
                seen[str(answer.status)] += 1
            except (OSError, http.client.HTTPException) as error:
                seen[repr(error)] += 1
                connection.close()
        connection.close()

    threads = [threading.Thread(target=call, args=(fields,)) for fields in callers]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        over.set()
        for thread in threads:
            thread.join()
