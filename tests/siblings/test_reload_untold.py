"""What is in force and in nobody's words: the worker that led has died between the two. Who leads next says it, once."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.core.policy import PolicySet
from gateway.reload import again, transaction
from gateway.reload.edition import Edition, write_edition
from gateway.reload.outcome import Outcome
from gateway.reload.transaction import Reload
from gateway.settings import Settings
from gateway.siblings import Siblings
from gateway.siblings.frames import SUPERVISOR, Kind, Message, pack
from tests.fakes.waiting import eventually

SETTINGS = Settings()
BEFORE, AFTER = [PolicySet(version * 12, (), {}, {}, {}) for version in "01"]
FILE = {"file": "edition-1"}
ORDER = {**FILE, "why": "admin", "warnings": 3}


@dataclass
class Worker:
    """What `in_force.py` does, without a gateway. `told`: what this worker was the one to say."""

    settings: Settings = SETTINGS
    policies: PolicySet = BEFORE
    prepared: bool = False
    told: list[Outcome] = field(default_factory=list)

    async def prepare(self, _edition: Edition) -> Callable[[], Awaitable[None]]:
        async def give_up() -> None:
            self.prepared = False

        self.prepared = True
        return give_up

    def commit(self, edition: Edition) -> None:
        self.policies = edition.policies

    def heard(self, outcome: Outcome) -> None: ...

    def reloaded(self, outcome: Outcome) -> None:
        self.told.append(outcome)


@dataclass
class Sibling:
    """A worker with its line, of which the test holds the supervisor's end. Files say what is in force."""

    worker: Worker
    line: socket.socket
    looks: list[object] = field(default_factory=list)

    def hear(self, *said: tuple[str, Any]) -> None:
        """All of it at once, as by a process that was held up."""
        messages = [Message(Kind.TELL, SUPERVISOR, 0, 0, pack(one)) for one in said]
        self.line.sendall(b"".join(message.encode() for message in messages))

    async def prepare(self) -> None:
        self.line.sendall(Message(Kind.ASK, SUPERVISOR, 0, 1, pack(["reload.prepare", FILE])).encode())
        await eventually(lambda: self.worker.prepared)

    async def lead(self) -> None:
        """Until it has looked at the files a few times."""
        self.hear(("reload.lead", {}))
        await eventually(lambda: len(self.looks) >= 4)

    def stamp(self, *_: object) -> tuple[()]:
        self.looks.append(_)
        return ()

    def read(self) -> Any:
        return SimpleNamespace(settings=SETTINGS, policies=self.worker.policies, errors=(), warnings=())


@pytest.fixture
async def sibling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sibling]:
    monkeypatch.setattr(transaction, "LOOK_S", 0.01)
    monkeypatch.setattr(again, "FIRST_S", 0.01)
    write_edition(tmp_path / FILE["file"], Edition(SETTINGS, AFTER))
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    one, siblings = Sibling(Worker(), ours), Siblings(0, theirs)
    sources: Any = SimpleNamespace(stamp=one.stamp, read=one.read, began=SETTINGS)
    reload = Reload(one.worker, siblings, sources, tmp_path)
    await siblings.start()
    yield one
    await reload.close()
    await siblings.close()
    ours.close()


@pytest.mark.parametrize(("before", "result"), [(BEFORE, "loaded"), (AFTER, "unchanged")])
async def test_it_is_told_as_what_it_was(sibling: Sibling, before: PolicySet, result: str) -> None:
    sibling.worker.policies = before
    await sibling.prepare()
    sibling.hear(("reload.commit", ORDER))
    await sibling.lead()
    told = [(one.result, one.version, one.why, one.warnings) for one in sibling.worker.told]
    assert told == [(result, AFTER.version, "admin", 3)]


async def test_what_its_leader_has_told_is_not_told_again(sibling: Sibling) -> None:
    await sibling.prepare()
    sibling.hear(
        ("reload.commit", ORDER), ("reload.outcome", Outcome("loaded", AFTER.version, "watch", "now")._asdict())
    )
    await sibling.lead()
    assert sibling.worker.policies.version == AFTER.version
    assert sibling.worker.told == []


async def test_what_another_one_was_told_of_is_still_to_be_told(sibling: Sibling) -> None:
    """Such as what was wrong with files later, by somebody who did not know either."""
    await sibling.prepare()
    sibling.hear(
        ("reload.commit", ORDER), ("reload.outcome", Outcome("failed", AFTER.version, "watch", "now")._asdict())
    )
    await sibling.lead()
    assert [one.result for one in sibling.worker.told] == ["loaded"]


async def test_who_was_not_there_to_prepare_has_nothing_to_tell(sibling: Sibling) -> None:
    """It gets there when others may have told long ago."""
    sibling.hear(("reload.commit", ORDER))
    await eventually(lambda: sibling.worker.policies.version == AFTER.version)
    await sibling.lead()
    assert sibling.worker.told == []


async def test_a_host_without_threads_delays_it_and_ends_no_watch(
    sibling: Sibling, monkeypatch: pytest.MonkeyPatch
) -> None:
    to_thread, missing = asyncio.to_thread, ["news"]

    async def none_at_first(work: Any, *more: Any) -> Any:
        if work.__name__ in missing:
            missing.remove(work.__name__)
            raise RuntimeError("can't start new thread")
        return await to_thread(work, *more)

    monkeypatch.setattr(asyncio, "to_thread", none_at_first)
    await sibling.prepare()
    sibling.hear(("reload.commit", ORDER))
    await sibling.lead()
    await eventually(lambda: len(sibling.worker.told) == 2)
    assert [one.result for one in sibling.worker.told] == ["failed", "loaded"]
