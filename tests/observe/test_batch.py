"""What one turn's calls are told to: everybody who takes them, whatever others do."""

import asyncio
from typing import Any

from gateway.observe.batch import Batch
from gateway.record import CallRecord


class Sink:
    def __init__(self, fails_at: str = "") -> None:
        self.seen: list[CallRecord] = []
        self._fails_at = fails_at

    def emit(self, record: CallRecord) -> None:
        if self._fails_at and record.request_id == self._fails_at:
            raise ValueError("broken")
        self.seen.append(record)


async def test_who_fails_loses_one_call_and_nothing_for_others() -> None:
    failures: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    first, broken, last = Sink(), Sink(fails_at="a"), Sink()
    taken: list[int] = []
    batch = Batch([first, broken, last])

    def fail(_records: object) -> None:
        raise ValueError("broken, too")

    batch.takers = (fail, lambda records: taken.append(len(records)))
    records = [CallRecord(), CallRecord()]
    for name, record in zip("ab", records, strict=True):
        record.request_id = name
        batch.emit(record)
    batch.flush()
    assert first.seen == last.seen == records
    assert broken.seen == records[1:]
    assert taken == [2]
    assert [str(one["exception"]) for one in failures] == ["broken", "broken, too"]
