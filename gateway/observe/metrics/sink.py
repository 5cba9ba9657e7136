"""Metrics of one worker: a sink of records, a place to report what is not a call, and the text for a scrape.

What is counted goes to prometheus_client every half second and before each scrape of this worker, so a scrape that
another worker answers may be half a second old, and 2.5 s where calls are of hundreds of kinds. With several workers
prometheus_client's multi-process mode adds them up, dead ones included (PROMETHEUS_MULTIPROC_DIR).
"""

import platform
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import repeat

from prometheus_client.exposition import choose_encoder

from gateway import __version__
from gateway.core.ask import Kind
from gateway.core.limits import Charge, Limit
from gateway.core.policy import PolicySet
from gateway.observe.log.line import REFUSED
from gateway.observe.log.logger import dropped_lines
from gateway.observe.metrics.followed import Followed
from gateway.observe.metrics.instruments import FROM_THE_START, TOKENS
from gateway.observe.metrics.levels import NO_ROUTE, Gauges, Levels
from gateway.observe.metrics.present import Present
from gateway.observe.metrics.process import cpu_s
from gateway.observe.metrics.pulse import Pulse
from gateway.observe.metrics.series import UPSTREAM_TIME, Series
from gateway.observe.metrics.tally import Calls, Outcome
from gateway.observe.metrics.ticking import Ticking
from gateway.observe.metrics.totals import Totals
from gateway.record import CallRecord

MANY, TICKS = 100, 5
"""Of more kinds of calls than so many, as thousands of routes make them, each is poured in one tick of so many: to pour
costs as much for one call as for hundreds."""
AT_ONCE = 8
"""Kinds of calls that are poured in one turn of the event loop, a fraction of a millisecond: there may be thousands."""
OTHER = "OTHER"
METHODS = {
    name: name for name in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "QUERY")
}
FOLD_AT = 0xFF  # of calls that are alike: how many there are between two foldings, less one


class Metrics:
    """A `RecordSink`. `levels` may be replaced by whoever knows them; `worker` is the number of this one.

    Reporting is for the event loop's thread. Nothing here raises on odd records, and the number of series does not
    depend on what callers send.
    """

    def __init__(self, policies: PolicySet, *, worker: int = 0) -> None:
        self.levels: Callable[[], Levels] = Levels
        self._worker = str(worker)
        self._totals = Totals()
        self._series = Series(self._totals)
        self._calls: dict[tuple[str, str, Outcome], Calls] = {}
        self._outcomes: dict[Outcome, Outcome] = {}
        self._unpoured: list[Calls] = []
        self._a_tick = MANY
        self._verdicts: Counter[tuple[Kind, tuple[bool, ...], str]] = Counter()
        self._near: Counter[str] = Counter()
        self.pulse = Pulse(self._totals)
        self.asked = self._totals.asked
        self._lag = self._series.distribution("gateway_event_loop_lag_seconds")
        self._store_time = self._series.distribution("gateway_store_operation_seconds", "admit")
        self._gauges = Gauges(self._worker, self._series.set)
        self._followed = Followed(self._series)
        self.follow = self._followed.follow
        self._poured_cpu_s = 0.0
        self._poured_dropped = 0
        self._version = ""
        self._ticking = Ticking(self._lag.observe, self._pieces_due, self._poured)
        self._series.set("gateway_build_info", 1, __version__, platform.python_version())
        for name, label in FROM_THE_START:
            self._series.child(name, label)
        self.policy_loaded(policies)

    # -- calls

    def emit(self, record: CallRecord) -> None:
        """Count one finished call."""
        notes = record.notes
        calls: Calls | None = notes.get(self) if notes is not None else None
        judged = record.judged_status or record.upstream_status
        outcome = (record.method, record.status, record.response_source, judged)
        if calls is None or calls.outcome != outcome:
            calls = self._kind(record, outcome)
        total_s, store_s, upstream_s = record.ended - record.started, record.store_s, record.upstream_s
        if not calls.count & FOLD_AT:
            self._note(calls)
        calls.count += 1
        times = calls.times
        times.append(total_s)
        times.append(total_s - store_s - upstream_s - record.queue_s - record.retry_wait_s)
        calls.bytes_in += record.bytes_in
        calls.bytes_out += record.bytes_out
        if calls.waited is not None:
            calls.waited(upstream_s)
        if store_s:
            self._store_time.observe(store_s)
        decision = record.decision
        if decision is not None:
            kind = record.ask.kind
            admitted = () if decision.admitted and not kind.shadows else tuple([one[0] for one in decision.verdicts])
            self._verdicts[kind, admitted, record.store] += 1
        if record.error_class or record.aborted_by:
            self._count_failure(record)

    def _count_failure(self, record: CallRecord) -> None:
        failed = record.code[:9] == "UPSTREAM_" and record.response_source != "pause"
        hidden = record.cache == "error" and not (record.upstream_status or record.aborted_by)  # by an old answer
        if failed or hidden or record.aborted_by == "upstream":
            self._no_whole_answer(record)

    def _no_whole_answer(self, record: CallRecord) -> None:
        """The upstream is at fault, or there was no place at it."""
        why = record.error_class or "other"
        self._series.inc("gateway_upstream_errors_total", record.upstream or NO_ROUTE, why)
        if not record.upstream_status:
            self._totals.unanswered(record.upstream, why)

    def _note(self, calls: Calls) -> None:
        """There is something to pour; or already so much of it that it is to be folded."""
        if calls.count:
            calls.fold()
            self._store_time.fold()
        else:
            self._unpoured.append(calls)

    def _kind(self, record: CallRecord, outcome: Outcome) -> Calls:
        """Where such calls are counted. The next one with the same notes looks here first."""
        method, status, source, judged = outcome
        key = (record.route, record.upstream, (METHODS.get(method, OTHER), status, source, judged))
        calls = self._calls.get(key) or self._new_calls(*key)
        if record.notes is not None:
            record.notes[self] = calls
        return calls

    def _new_calls(self, route: str, upstream: str, outcome: Outcome) -> Calls:
        """One outcome is one object for all routes: a call reads it."""
        outcome = self._outcomes.setdefault(outcome, outcome)
        method, status, source, upstream_status = outcome
        label, answers = route or NO_ROUTE, None
        if upstream_status:
            answered = self._series.child("gateway_upstream_requests_total", upstream, str(upstream_status))
            answers = answered, self._series.distribution(UPSTREAM_TIME, upstream)
        calls = self._calls[route, upstream, outcome] = Calls(
            upstream,
            outcome,
            (
                self._series.child("gateway_requests_total", label, method, str(status), source),
                self._series.child("gateway_request_body_bytes_total", label),
                self._series.child("gateway_response_body_bytes_total", label),
            ),
            self._series.distribution("gateway_request_duration_seconds", label, f"{status // 100}xx"),
            self._series.distribution("gateway_request_overhead_seconds", label),
            answers,
        )
        return calls

    # -- what is not a call

    def policy_loaded(self, policies: PolicySet, *, counted: bool = True) -> None:
        """A set is in force. Its limits and tokens get series now, so that a rate is right from the first count on."""
        if self._version:
            self._series.set("gateway_policy_info", 0, self._version)
        self._version = policies.version
        self._present = Present(self._series.registry, policies)
        self._series.set("gateway_policy_info", 1, policies.version)
        self._series.set("gateway_policy_last_reload_successful", 1)
        self._series.set("gateway_policy_last_reload_success_timestamp_seconds", _loaded_s(policies))
        if counted:
            self._series.inc("gateway_policy_reloads_total", "loaded")
        for limit in policies.limits.values():
            self._series.child("gateway_limit_near_total", limit.name)
        for upstream in policies.upstreams.values():
            if any(one.oauth is not None for one in upstream.credentials):
                for result in TOKENS:
                    self._series.child("gateway_tokens_total", upstream.name, result)

    def reload_went(self, *, well: bool) -> None:
        """Whether what is in force is what the files say. Every worker says so: the one that has read them may end."""
        self._series.set("gateway_policy_last_reload_successful", well)

    def count_reload(self, result: str) -> None:
        """A set was offered: loaded, unchanged, rejected (it has errors) or failed (a worker could not use it)."""
        self._series.inc("gateway_policy_reloads_total", result)

    def on_near(self, limit: Limit) -> None:
        """An admitted call left at most a fifth of this limit."""
        self._near[limit.name] += 1

    def on_fallback(self, charges: Sequence[Charge]) -> None:
        """These limits were decided without the store."""
        for charge in charges:
            posture = charge.limit.on_store_error.value
            self._series.inc("gateway_store_fallback_decisions_total", charge.limit.name, posture)

    def on_retry(self, upstream: str, reason: str, outcome: str) -> None:
        """A call was tried again because of an outcome of the class `reason`."""
        self._series.inc("gateway_upstream_retries_total", upstream, reason, outcome)

    def on_retry_budget_exhausted(self, upstream: str) -> None:
        """A call was not tried again because too many were."""
        self._series.inc("gateway_retry_budget_exhausted_total", upstream)

    def on_upstream_paused(self, upstream: str) -> None:
        """An upstream asked for quiet about one key."""
        self._series.inc("gateway_upstream_paused_total", upstream)

    def on_breaker_change(self, breaker: str, state: str) -> None:
        """A breaker of one key entered this state, because of what this worker saw."""
        self._series.inc("gateway_breaker_transitions_total", breaker, state)

    def on_token(self, upstream: str, result: str) -> None:
        """What came of asking for a token: renewed, shared (by another worker), refused, unavailable, unkept."""
        self._series.inc("gateway_tokens_total", upstream, result)

    def on_store_event(self, name: str, fields: Mapping[str, object]) -> None:
        """`on_event` of the store: counts each loss by its kind."""
        if name == "store.degraded":
            self._series.inc("gateway_store_errors_total", str(fields.get("kind", "other")))

    # -- time

    def start(self) -> None:
        """Begin to pour and to measure the loop's lag. Needs the running loop."""
        self._ticking.start()

    def close(self) -> None:
        """Stop, with everything poured. Idempotent."""
        self._ticking.stop()
        self.pour()

    def _pieces_due(self) -> Iterator[None]:
        """What to pour in this tick of what there is when it begins: no kind of calls waits for more than `TICKS`."""
        kinds = len(self._unpoured)
        self._a_tick = max(self._a_tick, -(-kinds // TICKS)) if kinds > MANY else MANY
        return self._pieces(min(kinds, self._a_tick))

    def _poured(self, began_s: float) -> None:
        self.pulse.beat(began_s, time.time())

    def pour(self) -> None:
        """Hand everything counted so far to prometheus_client, and read the levels. Kinds of calls of which there were
        none since the last time, on hundreds of routes, cost nothing."""
        for _ in self._pieces(len(self._unpoured)):
            pass

    def _pieces(self, kinds: int) -> Iterator[None]:
        """Pours so many kinds of calls, and all the rest: so much at a time as may be done in one turn of the event
        loop."""
        for left in range(kinds, 0, -AT_ONCE):
            self._pour_calls(min(left, AT_ONCE))
            yield
        self._store_time.pour()
        self._lag.pour()
        yield
        self._pour_verdicts()
        yield
        self._pour_process()
        self._followed.pour()
        yield
        self._gauges.read(self.levels())
        yield

    def _pour_calls(self, kinds: int) -> None:
        some = self._unpoured[:kinds]
        del self._unpoured[:kinds]
        for calls in some:
            _, status, source, upstream_status = calls.outcome
            self._totals.count(calls.upstream, source, status, upstream_status, calls.count)
            calls.pour()

    def _pour_verdicts(self) -> None:
        """What was decided together, for each limit by itself; no answers = all admitted."""
        for (kind, admitted, store), count in self._verdicts.items():
            for (name, mode), passed in zip(kind.limits, admitted or repeat(True), strict=bool(admitted)):
                decision = "allowed" if passed else REFUSED[mode]
                self._series.inc("gateway_limit_decisions_total", name, decision, store, by=count)
                self._totals.decisions[name, decision] += count
        for limit, count in self._near.items():
            self._series.inc("gateway_limit_near_total", limit, by=count)
        self._verdicts.clear()
        self._near.clear()

    def _pour_process(self) -> None:
        cpu, dropped = cpu_s(), dropped_lines()
        self._series.inc("process_cpu_seconds_total", self._worker, by=cpu - self._poured_cpu_s)
        self._series.inc("gateway_log_lines_dropped_total", by=dropped - self._poured_dropped)
        self._poured_cpu_s, self._poured_dropped = cpu, dropped

    # -- scrapes

    def text(self, accept: str) -> tuple[bytes, str]:
        """All metrics of all workers, as last poured, in the format the Accept field asks for: (body, Content-Type).
        For any thread: with many routes and workers it takes a while.
        """
        encoder, content_type = choose_encoder(accept)
        return encoder(self._present), content_type


def _loaded_s(policies: PolicySet) -> float:
    """When these were read, which is before this worker began if it is a later one."""
    return datetime.fromisoformat(policies.loaded_at).timestamp() if policies.loaded_at else time.time()
