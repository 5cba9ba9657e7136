"""Fewer lines about calls: a share of those that went well, so many refusals a second. Never fewer of anything else.

Nothing is left to chance, and nothing is lost in silence: the next line of the same kind says how many were left out
before it, and all are counted.
"""

from collections import Counter
from collections.abc import Mapping

from gateway.core.problems import CONCURRENCY, RATE_LIMIT
from gateway.observe.log.access import AccessLog
from gateway.record import CallRecord
from gateway.settings import Logging, Sample

WELL, REFUSED = "success", "limited"
_BY_A_LIMIT = frozenset({RATE_LIMIT.code, CONCURRENCY.code})


def access_log(logging: Logging, envelope: Mapping[str, str | int]) -> AccessLog:
    """The access log that these settings ask for."""
    if logging.sample != Sample():
        return SampledLog(logging, envelope)
    return AccessLog(logging, envelope)


class SampledLog(AccessLog):
    """An access log that leaves lines out. `left_out`: how many so far, by kind."""

    def __init__(self, logging: Logging, envelope: Mapping[str, str | int]) -> None:
        super().__init__(logging, envelope)
        self.left_out: Counter[str] = Counter()
        self._untold: Counter[str] = Counter()
        self._share = logging.sample.success
        self._owed = 1.0  # the first one is written
        self._most = logging.sample.limited_per_s
        self._second = -1
        self._this_second = 0

    def emit(self, record: CallRecord) -> None:
        """Write the record's line, or count it."""
        kind = kind_of(record)
        if not kind:
            super().emit(record)
        elif not (self._due_success() if kind == WELL else self._due_refusal(int(record.ended))):
            self.left_out[kind] += 1
            self._untold[kind] += 1
        elif self._untold[kind]:
            self.emit_whole(record, {"sampled_out": self._untold.pop(kind)})
        else:
            super().emit(record)

    def _due_success(self) -> bool:
        self._owed += self._share
        if self._owed < 1:
            return False
        self._owed -= 1
        return True

    def _due_refusal(self, second: int) -> bool:
        if self._most is None:
            return True
        if second != self._second:
            self._second, self._this_second = second, 0
        self._this_second += 1
        return self._this_second <= self._most


def kind_of(record: CallRecord) -> str:
    """Which lines may be left out instead of this one; "" = none: it is one of its kind."""
    if record.response_source == "limit":
        return REFUSED if record.code in _BY_A_LIMIT else ""
    ordinary = not record.error_class and not record.aborted_by and record.attempts is None
    well = 200 <= record.status < 300 and record.verdict != "shadow_limited"
    return WELL if ordinary and well and record.response_source == "upstream" else ""
