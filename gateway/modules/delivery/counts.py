"""What is told of deliveries: counts for metrics, events for the log."""

import asyncio
from collections import Counter
from collections.abc import Sequence

from gateway.core.webhooks.redelivery import Step, Tried
from gateway.observe.log.logger import event
from gateway.store.shared.queues import Settled, Taken

TELL_S = 1.0
LOSSES = ("store_away", "queue_full", "queue_broken", "not_stored", "gateway_ended", "dead_letters_full")
"""Why an event does not reach a receiver. Of webhooks that came, which are kept before they are answered: the last."""
_RESULTS = {Step.DONE: "delivered", Step.RETRY: "retried", Step.DEAD: "dead"}


class Counts:
    """What became of letters, as far as this worker has had them in its hands. Needs the running loop.

    deliveries  tries by (queue, result)
    dropped     letters by (queue, reason)
    """

    def __init__(self) -> None:
        self.deliveries: Counter[tuple[str, ...]] = Counter()
        self.dropped: Counter[tuple[str, ...]] = Counter()
        self._untold: Counter[tuple[str, str]] = Counter()

    def expect(self, queue: str, reasons: Sequence[str]) -> None:
        """There may be losses for these reasons. Whoever reads the counts sees 0 until then."""
        self.dropped.update(dict.fromkeys(((queue, reason) for reason in reasons), 0))

    def tried(self, queue: str, taken: Taken, tried: Tried, step: Step, wait_us: int, settled: Settled | None) -> None:
        """See `courier.Tells`."""
        self.deliveries[queue, _RESULTS[step]] += 1
        about = {"receiver": queue, "webhook_id": taken.id, "attempt": taken.tries}
        took_ms = round(tried.took_us / 1000, 1)
        if step is Step.DONE:
            event("webhook.delivered", "Webhook delivered", "debug", **about, took_ms=took_ms)
        else:
            event(
                "webhook.failed",
                "Webhook not delivered",
                "error" if step is Step.DEAD else "warning",
                **about,
                upstream_status=tried.status or None,
                reason=tried.error or None,
                took_ms=took_ms,
                next_s=wait_us / 1e6 if step is Step.RETRY else None,
            )
        if settled is not None and settled.resting_ms:
            rest_s, failures = settled.resting_ms / 1000, settled.failures
            event("webhook.resting", "Receiver left alone", "warning", receiver=queue, rest_s=rest_s, failures=failures)
        if settled is not None and settled.lost:
            self.drop(queue, "dead_letters_full", settled.lost)

    def crashed(self, queue: str, error: BaseException) -> None:
        """See `courier.Tells`."""
        event("webhook.crashed", "Delivering webhooks met an internal error", "error", receiver=queue, exc_info=error)

    def drop(self, queue: str, reason: str, count: int = 1) -> None:
        """Letters are lost. Told soon, in one line for all that a receiver loses in a second."""
        self.dropped[queue, reason] += count
        if not self._untold:
            asyncio.get_running_loop().call_later(TELL_S, self.tell)
        self._untold[queue, reason] += count

    def tell(self) -> None:
        """Tell of what was dropped and is not told yet."""
        untold, self._untold = self._untold, Counter()
        for (queue, reason), count in untold.items():
            event("webhook.dropped", "Webhooks dropped", "error", receiver=queue, reason=reason, count=count)
