"""Spans on their way to a collector: gathered behind the calls, then shaped and sent by a thread of their own.

Calls only leave their record here. Whatever the collector does (it is down, slow, answers nonsense or never), it costs
spans and nothing else: when too many wait, those that come are let go and counted.
"""

import asyncio
import threading
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

from gateway.core.http.trace import SAMPLED
from gateway.observe.log.access import hidden_fields
from gateway.observe.log.formats import Otel
from gateway.observe.log.line import call_line
from gateway.observe.log.logger import envelope, event
from gateway.observe.log.schema import ENVELOPE
from gateway.observe.trace.spans import Span, spans_of
from gateway.record import CallRecord
from gateway.settings import Settings

MOST_WAITING = 4_096
"""Calls whose spans wait to be sent."""
BATCH = 256
"""Calls in one request to the collector."""
SEND_EVERY_S = 1.0
FLUSH_S = 2.0
"""How long `close` waits for a collector that does not answer."""

_NEWS = {
    "traces.failed": ("Spans cannot be sent", "warning"),
    "traces.recovered": ("Spans are sent again", "info"),
}

Export = Callable[[Sequence[tuple[str, Span]]], bool]
"""Sends spans, each with its trace id. Returns whether the collector took them; raises nothing, may take long."""
Tell = Callable[[str, int], None]
"""Told, in the sending thread, when sending begins to fail and when it works again: (event name, calls lost)."""


class Spans:
    """A `RecordSink`. Has to be the last one: records are its own from then on.

    export  sends
    abandon makes a sending that takes long give up soon
    tell    hears when the collector is lost and found
    redact  native fields that are not told; `query`: targets without theirs
    counts  of calls: sent, queue_full, failed
    """

    def __init__(
        self, export: Export, tell: Tell, *, abandon: Callable[[], None] = lambda: None, redact: Collection[str] = ()
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._export = export
        self._abandon = abandon
        self._tell = tell
        self._with_query = "query" not in redact
        self._hidden = tuple(redact)
        self._renamed = Otel().flat
        self._waiting: deque[CallRecord] = deque()
        self._wake = threading.Event()
        self._in_hand = 0
        self._counting = threading.Lock()
        self._ended = self._given_up = False
        self._failing = False
        self._thread = threading.Thread(target=self._keep_sending, name="spans", daemon=True)

    def start(self) -> None:
        """Start the thread that sends spans."""
        self._thread.start()

    def emit(self, record: CallRecord) -> None:
        """Take a call whose trace is recorded."""
        if record.trace_flags not in SAMPLED:
            return
        if len(self._waiting) >= MOST_WAITING:
            self.counts["queue_full"] += 1
            return
        self._waiting.append(record)
        if len(self._waiting) == BATCH:
            self._wake.set()

    def close(self) -> None:
        """Send what is left, and count what could not be sent. Waits a moment: not for the loop's thread."""
        self._ended = True
        self._wake.set()
        self._thread.join(FLUSH_S)
        with self._counting:
            self._given_up = self._thread.is_alive()
            if self._given_up:
                self.counts["failed"] += self._in_hand + len(self._waiting)
                self._waiting.clear()
        if self._given_up:
            self._abandon()

    def _keep_sending(self) -> None:
        while not self._ended:
            self._wake.wait(SEND_EVERY_S)
            self._wake.clear()
            while self._waiting:
                self._send([self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))])

    def _send(self, records: Sequence[CallRecord]) -> None:
        shaped = [(record.trace_id, spans) for record in records if (spans := self._shaped(record))]
        self._in_hand = len(shaped)
        sent = self._export([(trace_id, span) for trace_id, spans in shaped for span in spans])
        with self._counting:
            if self._given_up:
                return
            self.counts["sent" if sent else "failed"] += self._in_hand
            self._in_hand = 0
        if sent is self._failing:
            self._failing = not sent
            self._tell("traces.recovered" if sent else "traces.failed", self.counts["failed"])

    def _shaped(self, record: CallRecord) -> list[Span]:
        """A call that cannot be put into words, which should not be, costs its own spans and not those behind it."""
        try:
            return self._spans(record)
        except Exception:  # the log, which says the same, has told of it
            self.counts["failed"] += 1
            return []

    def _spans(self, record: CallRecord) -> list[Span]:
        record.notes = None  # what sinks share is for the loop's thread
        line = call_line(record, with_query=self._with_query)
        for name in self._hidden:
            line.pop(name, None)
        return spans_of(record, self._renamed(line))


def open_spans(settings: Settings, worker: int) -> Spans | None:
    """Spans of this worker, sent to `traces.endpoint` from now on; None when nobody wants them. Needs the running loop.

    The SDK is loaded only here.
    """
    if settings.traces.endpoint is None:
        return None
    from gateway.observe.trace.otlp import Exporter

    loop = asyncio.get_running_loop()

    def tell(name: str, lost: int) -> None:
        with suppress(RuntimeError):  # the loop is gone
            loop.call_soon_threadsafe(_tell, name, lost)

    service = {ENVELOPE[name].otel: value for name, value in envelope(settings, worker=worker).items()}
    exporter = Exporter(settings.traces.endpoint, service)
    redact = hidden_fields(settings.logging) | ({"query"} & {name.lower() for name in settings.logging.redact})
    spans = Spans(exporter.export, tell, abandon=exporter.abandon, redact=redact)
    spans.start()
    return spans


def _tell(name: str, lost: int) -> None:
    message, level = _NEWS[name]
    event(name, message, level, count=lost)
