"""Which reads are repeated, in one worker: counted while somebody has asked for it, in bounded memory.

Nobody has asked: nothing is done. What is kept when the time is over stays until somebody asks anew.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from gateway.core.ask import Ask
from gateway.core.watching.heavy_hitters import HeavyHitters
from gateway.core.watching.repeats import Read, kept, shares
from gateway.observe.batch import Batch
from gateway.record import CallRecord
from gateway.siblings import Siblings

MOST = 1_000
"""Reads that are kept: whichever makes up a thousandth of all is among them. Between two prunings twice as many."""


class Repeats:
    """Counts one worker's reads. Answers its siblings' questions `repeats.watch`, `repeats.counts` and `repeats.of`."""

    def __init__(self, siblings: Siblings, batch: Batch) -> None:
        self._batch = batch
        self._loop = asyncio.get_running_loop()
        self._reads: HeavyHitters[Read] = HeavyHitters(MOST)
        self._asks: dict[Read, Ask] = {}
        self._seen = 0
        self._began_s: float | None = None
        self._over_s = 0.0
        self._end: asyncio.TimerHandle | None = None
        siblings.on("repeats.watch", lambda asked: self.watch(asked["for_s"]))
        siblings.on("repeats.counts", lambda _: self.counts())
        siblings.on("repeats.of", lambda asked: self.of(asked["digests"], asked["repeats"], asked["over_s"]))

    def watch(self, for_s: float) -> dict[str, Any]:
        """Count repeated reads from now on for `for_s` seconds; what was counted before is forgotten."""
        self._stop()
        self._reads, self._asks, self._seen = HeavyHitters(MOST), {}, 0
        self._began_s = self._loop.time()
        self._end = self._loop.call_later(for_s, self._stop)
        self._batch.takers = (*self._batch.takers, self.take)
        return {"watching": True}

    def take(self, records: Sequence[CallRecord]) -> None:
        """Calls that have ended. What a cache or a sandbox has answered, or a limit refused, took nothing upstream."""
        reads: dict[Read, int] = self._reads.counts
        for one in records:
            if one.method != "GET" or one.response_source != "upstream":
                continue
            caller = kept(one.tenant), kept(one.account), kept(one.connection)
            read = Read(one.route, one.auth_key, *caller, kept(one.target))
            self._seen += 1
            if read in reads:
                reads[read] += 1
                continue
            reads[read] = 1
            self._asks[read] = one.ask
            if len(reads) > 2 * MOST:
                reads = self._prune()

    def counts(self) -> dict[str, Any]:
        """To be added up with what other workers counted; empty when this one has not been watching."""
        if self._began_s is None:
            return {}
        self._prune()
        return {
            "counts": {read.digest: count for read, count in self._reads.counts.items()},
            "missed": self._reads.missed,
            "seen": self._seen,
            "over_s": self._elapsed_s(),
            "watching": self._end is not None,
        }

    def of(self, digests: Sequence[str], repeats: Sequence[int], over_s: float) -> dict[str, Any]:
        """What is known here about some reads, by digest, and what so many repeats take of their limits."""
        wanted = dict(zip(digests, repeats, strict=True))
        known = {read.digest: (read, ask) for read, ask in self._asks.items()}
        return {digest: _about(*known[digest], wanted[digest], over_s) for digest in wanted.keys() & known.keys()}

    def _elapsed_s(self) -> float:
        assert self._began_s is not None, "asked for by those who know that there was a beginning"
        return self._over_s if self._end is None else self._loop.time() - self._began_s

    def _prune(self) -> dict[Read, int]:
        self._reads.prune()
        reads = self._reads.counts
        self._asks = {read: self._asks[read] for read in reads}
        return reads

    def _stop(self) -> None:
        if self._end is not None:
            self._over_s = self._elapsed_s()
            self._end.cancel()
            self._end = None
            self._batch.takers = tuple(take for take in self._batch.takers if take != self.take)


def _about(read: Read, ask: Ask, repeats: int, over_s: float) -> dict[str, Any]:
    who = {"tenant": read.tenant, "account": read.account, "connection": read.connection}
    return {
        "route": read.route,
        **{name: value for name, value in who.items() if value},
        "path": read.path,
        "query": "?" in read.target,
        "limits": shares(ask, repeats, round(over_s * 1e6)),
    }
