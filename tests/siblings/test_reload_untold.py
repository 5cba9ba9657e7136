"""What is in force and in nobody's words: the worker that led has died between the two. Who leads next says it, once."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.core.policy import PolicySet
from gateway.reload import transaction
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
LOADED = Outcome(
    "loaded",
    AFTER.version,
    "signal",
    "now",
    took_ms=7,
    errors=[],
    warnings=3,
    changes={"changed": 1},
    diff=[],
    settings={"settings_changed": ["bounds"]},
)
UNCHANGED = Outcome("unchanged", AFTER.version, "admin", "now", errors=[], diff=[])


def put_in_place(came_of_it: Outcome) -> tuple[str, Any]:
    return "reload.commit", {**FILE, "outcome": came_of_it._asdict()}


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


@pytest.mark.parametrize("came_of_it", [LOADED, UNCHANGED])
async def test_it_is_told_as_its_leader_would_have(sibling: Sibling, came_of_it: Outcome) -> None:
    await sibling.prepare()
    sibling.hear(put_in_place(came_of_it))
    await sibling.lead()
    assert sibling.worker.told == [came_of_it]
    assert sibling.worker.policies.version == AFTER.version


@pytest.mark.parametrize("prepared", [True, False])
async def test_what_its_leader_has_told_is_not_told_again(sibling: Sibling, prepared: bool) -> None:
    """Nor by a worker that has heard of it late, or has not got it ready yet."""
    if prepared:
        await sibling.prepare()
    sibling.hear(put_in_place(LOADED), ("reload.outcome", LOADED._asdict()))
    await eventually(lambda: sibling.worker.policies.version == AFTER.version)
    await sibling.lead()
    assert sibling.worker.told == []


async def test_that_something_else_came_to_nothing_is_not_its_outcome(sibling: Sibling) -> None:
    """As told by somebody who has led meanwhile and did not know of it."""
    await sibling.prepare()
    sibling.hear(put_in_place(LOADED), ("reload.outcome", LOADED._replace(result="failed")._asdict()))
    await sibling.lead()
    assert sibling.worker.told == [LOADED]
