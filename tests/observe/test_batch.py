"""What one turn's calls are told to: everybody who takes them, whatever others do."""

import asyncio
from typing import Any

from gateway.observe.batch import Batch
from gateway.record import CallRecord


class Sink:
    def __init__(self, fails: bool = False) -> None:
        self.seen: list[CallRecord] = []
        self._fails = fails

    def emit(self, record: CallRecord) -> None:
        if self._fails:
            raise ValueError("broken")
        self.seen.append(record)


async def test_who_fails_loses_nothing_for_those_behind_it() -> None:
    failures: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    first, broken, last = Sink(), Sink(fails=True), Sink()
    taken: list[int] = []
    batch = Batch([first, broken, last])

    def fail(_records: object) -> None:
        raise ValueError("broken, too")

    batch.takers = (fail, lambda records: taken.append(len(records)))
    records = [CallRecord(), CallRecord()]
    for record in records:
        batch.emit(record)
    batch.flush()
    assert first.seen == last.seen == records
    assert taken == [2]
    assert [str(one["exception"]) for one in failures] == ["broken", "broken, too"]
