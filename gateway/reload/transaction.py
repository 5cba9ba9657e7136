"""Reload as a transaction: what operators have edited is in force on every worker, or on none.

One worker leads: it watches the files, reads them when they have changed or somebody asks (in a thread: reading takes
time), and compares. Then every worker gets the new set ready; only when all have, the supervisor is told, keeps it for
the workers it will fork, and tells all workers to put it in place. A worker that dies in between is no obstacle: its
successor begins with what the supervisor keeps, and if it is the one that led, who leads next tells of what was put in
place. Whatever goes wrong, the set in force stays.

The set travels as a file in the gateway's private directory; messages only name it.
"""

import asyncio
import os
import secrets
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import monotonic, time_ns
from typing import Any, Protocol

from gateway.core.http.timestamps import rfc3339
from gateway.core.policy import PolicySet
from gateway.core.preview.policy_diff import counts, diff
from gateway.lasting import lasting
from gateway.observe.log.logger import event
from gateway.observe.log.places import FILES, unwritable
from gateway.policy.changes import changes
from gateway.policy.sources import Sources, Stamp
from gateway.reload.again import Again
from gateway.reload.edition import Edition, read_edition, write_edition
from gateway.reload.outcome import MOST_SHOWN, Outcome, shown
from gateway.settings import Settings
from gateway.siblings import Siblings
from gateway.waiting import end, happens_within

LOOK_S, LOOK_AGAIN_S, LONGEST_LOOKS = 0.5, 0.2, 10
"""Between two looks at the files, and after one that found a change. It is read when two looks in a row find the same,
or after so many that do not: somebody writes without a pause."""
PREPARE_S, COMMIT_S, ASK_S = 15.0, 5.0, 60.0
ASK_TIMES = 3
"""A worker that begins asks so many leaders, should each of them die, what came of the last reload."""


class Worker(Protocol):
    """What a worker does with an edition; `in_force.py` provides it."""

    @property
    def settings(self) -> Settings:
        """In force."""

    @property
    def policies(self) -> PolicySet:
        """In force."""

    async def prepare(self, edition: Edition) -> Callable[[], Awaitable[None]]:
        """Get it ready, changing nothing. Raises OSError. Returns what gives it up again."""

    def commit(self, edition: Edition) -> None:
        """Put in place what was prepared last. Cannot fail."""

    def heard(self, outcome: Outcome) -> None:
        """Something came of a reload, whichever worker led it, or of the last one before this worker began."""

    def reloaded(self, outcome: Outcome) -> None:
        """Something came of a reload that this worker led: the one to say so."""


class Reload:
    """One worker's part in reloads, and the lead if it is told to take it.

    directory  private to this gateway; all workers see it. None = there is only this one
    reloading  told when a reload begins (True) and has ended (False)
    """

    def __init__(
        self,
        worker: Worker,
        siblings: Siblings,
        sources: Sources | None,
        directory: Path | None,
        reloading: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self.last: Outcome | None = None
        self._worker = worker
        self._siblings = siblings
        self._sources = sources
        self._directory = directory
        self._reloading = reloading
        self._prepared: tuple[str, Edition, Callable[[], Awaitable[None]]] | None = None
        self._untold: Outcome | None = None  # of what the supervisor has put in place, until the leader tells it
        self._one_by_one = asyncio.Lock()
        self._leading: asyncio.Task[None] | None = None
        self._catching_up: asyncio.Task[None] | None = None
        self._asked = asyncio.Event()
        self._again = Again()
        siblings.on("reload", self._reload_asked)
        siblings.on("reload.lead", self._lead)
        siblings.on("reload.prepare", self._prepare)
        siblings.on("reload.forget", self._forget)
        siblings.on("reload.commit", self._commit)
        siblings.on("reload.version", lambda _: {"version": worker.policies.version})
        siblings.on("reload.outcome", self._hear)
        siblings.on("reload.last", lambda _: self.last._asdict() if self.last is not None else None)

    def start(self) -> None:
        """Serving begins. With no other worker this one leads; else it asks how the last reload went."""
        if self._siblings.alone:
            self._lead({})
        else:
            self._catching_up = asyncio.create_task(self._catch_up())

    async def close(self) -> None:
        """Idempotent."""
        await end(self._leading)
        await end(self._catching_up)
        await self._forget({})

    def signalled(self) -> None:
        """SIGHUP came, to all workers: the one that leads reads the files. Whoever leads later begins with that."""
        if self._leading is not None or self._siblings.alone:
            self._asked.set()

    async def ask(self, why: str, *, for_successors: bool = False) -> Outcome:
        """Read the files now, on the worker that leads. Never raises.

        for_successors  workers are to be replaced: the supervisor is to have what was read, though those who serve have
                        nothing new to put in place
        """
        asked = {"why": why, "for_successors": for_successors}
        answer = await self._siblings.ask_leader("reload", asked, timeout_s=ASK_S)
        if answer.missing:
            return self._outcome("failed", why, monotonic(), detail=f"the worker that reloads: {answer.missing}")
        return Outcome(**answer.payload)

    # -- leading

    def _lead(self, _told: Mapping[str, Any]) -> None:
        if self._leading is None and self._sources is not None:
            self._leading = lasting("watch of the policies", partial(self._watch, self._sources))

    async def _watch(self, sources: Sources) -> None:
        """Look at the files for ever; read them once to begin with, for they may have changed before we led."""
        seen = before = await self._stamp(sources)
        restless = 0
        await self._reload("watch", quiet=True)
        while True:
            await happens_within(self._asked, LOOK_S if before == seen else LOOK_AGAIN_S)
            now = await self._stamp(sources, before)
            if self._asked.is_set():
                self._asked.clear()
                seen = now
                await self._reload("signal")
            elif now != seen and (now == before or restless >= LONGEST_LOOKS):
                others = [name for name, _ in now] != [name for name, _ in seen]  # as after policies with fixtures
                seen = now
                await self._reload("watch", quiet=others)
            elif self._again.due(monotonic()):
                await self._reload("watch", quiet=True)
            restless = restless + 1 if now not in (seen, before) else 0
            before = now

    async def _stamp(self, sources: Sources, before: Stamp = ()) -> Stamp:
        with suppress(RuntimeError):  # a host that has no thread to give must not end the watch
            return await asyncio.to_thread(sources.stamp, self._worker.settings, self._worker.policies)
        return before

    async def _reload_asked(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        return (await self._reload(str(asked["why"]), for_successors=asked["for_successors"]))._asdict()

    async def _reload(self, why: str, *, quiet: bool = False, for_successors: bool = False) -> Outcome:
        """One after the other: each request gets a reload of its own. `quiet`: told only when it is news."""
        async with self._one_by_one:
            if not quiet:
                self._reloading(True)
            began = monotonic()
            try:
                if self._untold is not None:  # who led before has died between putting it in place and telling
                    self._tell(self._untold)
                outcome = await self._read(why, began, for_successors)
            except Exception as error:  # an error of ours: the set in force stays
                event("policy.failed", "Reload met an internal error", "error", exc_info=error)
                outcome = self._outcome("failed", why, began, detail=f"{type(error).__name__}: {error}")
            finally:
                if not quiet:
                    self._reloading(False)
            self._again.after(outcome, monotonic())
            if not quiet or outcome.is_news_after(self.last):
                self._tell(outcome)
            return outcome

    def _tell(self, outcome: Outcome) -> None:
        self._siblings.tell_all("reload.outcome", outcome._replace(diff=())._asdict())
        self._worker.reloaded(outcome)

    async def _read(self, why: str, began: float, for_successors: bool) -> Outcome:
        if self._sources is None:
            return self._outcome("failed", why, began, detail="this gateway was not started from files")
        reading = await asyncio.to_thread(self._sources.read)
        if reading.settings is None or reading.policies is None:
            errors = [error.as_dict() for error in reading.errors[:MOST_SHOWN]]
            more = f"{len(reading.errors)} errors" if len(reading.errors) > MOST_SHOWN else ""
            return self._outcome("rejected", why, began, errors=errors, warnings=len(reading.warnings), detail=more)
        edition = Edition(reading.settings, reading.policies)
        return await self._offer(edition, len(reading.warnings), why, began, for_successors)

    async def _offer(self, edition: Edition, warnings: int, why: str, began: float, for_successors: bool) -> Outcome:
        worker, policies = self._worker, edition.policies
        assert self._sources is not None, "they were read"
        merged = changes(worker.settings, edition.fresh, self._sources.began)
        found = await asyncio.to_thread(diff, worker.policies, policies)  # secrets are not part of the version
        unchanged = not found and not merged.at_once and policies.version == worker.policies.version
        news = {"settings": merged.as_dict(), "warnings": warnings, "changes": counts(found), "diff": shown(found)}
        came_of_it = partial(self._outcome, "unchanged" if unchanged else "loaded", why, began, **news)
        reason = ""
        if any(f"logging.{key}" in merged.new_workers for key in FILES):  # new workers would drop their lines
            reason = await asyncio.to_thread(unwritable, edition.fresh.logging)
        if not reason and (for_successors or not unchanged):
            reason = await self._put_in_place(edition, came_of_it)
        return self._outcome("failed", why, began, detail=reason) if reason else came_of_it()

    async def _put_in_place(self, edition: Edition, came_of_it: Callable[[], Outcome]) -> str:
        """ "" or why it is not in force anywhere."""
        if self._siblings.alone or self._directory is None:
            try:
                await self._worker.prepare(edition)
            except OSError as error:
                return str(error)
            self._worker.commit(edition)
            return ""
        name = f"edition-{os.getpid()}-{secrets.token_hex(4)}"
        path = self._directory / name
        try:
            await asyncio.to_thread(write_edition, path, edition)
        except OSError as error:
            return f"{self._directory}: an edition cannot be written: {error.strerror or error}"
        reasons = await self._prepare_all(name)
        if not reasons:
            outcome = came_of_it()._replace(version=edition.policies.version, diff=())
            order = {"file": name, "outcome": outcome._asdict()}
            answer = await self._siblings.ask_supervisor("reload.commit", order, timeout_s=COMMIT_S)
            if answer.missing in ("", "gone", "no answer in time"):  # what it has heard it does, if it lives
                await self._siblings.ask_all("reload.version", {}, timeout_s=COMMIT_S)  # until all have heard of it
                return "the supervisor does not answer" if answer.missing else ""
            reasons = [f"the supervisor: {answer.missing}"]
        self._siblings.tell_all("reload.forget", {"file": name})
        path.unlink(missing_ok=True)
        return "; ".join(reasons)

    async def _prepare_all(self, name: str) -> list[str]:
        """Why not all could. Who has gone is no reason: its successor begins with what the supervisor keeps."""
        answers = await self._siblings.ask_all("reload.prepare", {"file": name}, timeout_s=PREPARE_S)
        return [f"worker {one.worker}: {one.missing}" for one in answers if one.missing not in ("", "gone")]

    def _outcome(self, result: str, why: str, began: float, **more: Any) -> Outcome:
        now = rfc3339(time_ns() // 1000)
        took_ms = round((monotonic() - began) * 1000)
        return Outcome(result, self._worker.policies.version, why, now, took_ms, **more)

    # -- every worker

    async def _prepare(self, asked: Mapping[str, Any]) -> None:
        assert self._directory is not None, "editions come in files"
        await self._forget({})
        name = str(asked["file"])
        edition = await asyncio.to_thread(read_edition, self._directory / name)
        self._prepared = (name, edition, await self._worker.prepare(edition))

    async def _forget(self, told: Mapping[str, Any]) -> None:
        """Give up what was prepared: the edition that is named, or whichever."""
        if self._prepared is not None and told.get("file", self._prepared[0]) == self._prepared[0]:
            _, _, give_up = self._prepared
            self._prepared = None
            await give_up()

    def _commit(self, told: Mapping[str, Any]) -> Awaitable[None] | None:
        """The supervisor has decided. It is in force before anything is heard that was told behind it."""
        self._untold = Outcome(**told["outcome"])
        if self._prepared is None or self._prepared[0] != told["file"]:
            return self._commit_late(told)
        self._put_prepared()
        return None

    async def _commit_late(self, told: Mapping[str, Any]) -> None:
        """Who was not there to prepare, because it is new, does it now, or makes room."""
        try:
            await self._prepare(told)
        except Exception as error:
            event("policy.failed", "Policy not put in place", "error", reason=repr(error))
            signal.raise_signal(signal.SIGTERM)
            return
        self._put_prepared()

    def _put_prepared(self) -> None:
        assert self._prepared is not None, "just prepared"
        _, edition, _ = self._prepared
        self._prepared = None
        self._worker.commit(edition)

    async def _catch_up(self) -> None:
        """Whoever is asked may die meanwhile, and the next to lead tells only what is news to itself."""
        for _ in range(ASK_TIMES):
            answer = await self._siblings.ask_leader("reload.last", {}, timeout_s=ASK_S)
            if answer.payload and self.last is None:
                self._hear(answer.payload)
            if not answer.missing:
                return

    def _hear(self, told: Mapping[str, Any]) -> None:
        last = self.last = Outcome(**told)
        if self._untold is not None and last.good and last.version == self._untold.version:
            self._untold = None
        self._worker.heard(last)
