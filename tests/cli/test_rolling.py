"""A rolling restart while workers die, start, or do not come up: who sits where in the end, and with which settings."""

import math
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.core.policy import PolicySet
from gateway.reload.edition import Edition, write_edition
from gateway.settings import Bounds, Settings
from gateway.supervisor.posts import commit
from gateway.supervisor.rolling import Rolling
from gateway.supervisor.seat import Former, Seat
from gateway.supervisor.switchboard import Switchboard
from gateway.supervisor.worker import Post

OLD, NEW = Settings(name="old"), Settings(name="new")
NOTHING = PolicySet("0" * 12, (), {}, {}, {})


class Fleet:
    """Seats without processes. `names`: by pid, what each worker has begun with; pids are told in their order."""

    def __init__(self, posts: list[Post]) -> None:
        self.seats = [Seat(post) for post in posts]
        self.names: dict[int, str] = {}
        self.rolling = Rolling(self.seats, Switchboard(), self.fork)
        for seat in self.seats:
            self.fork(seat)
            seat.ready = True

    def fork(self, seat: Seat) -> None:
        pid = len(self.names) + 1
        self.names[pid] = seat.post.settings.name
        seat.taken(pid, 0.0)

    def die(self, number: int) -> None:
        self.seats[number].left(100.0, 0.0)

    def go_on(self, times: int = 20) -> None:
        """Who starts gets ready, who is to end does, and empty seats are filled."""
        for _ in range(times):
            self.rolling.step()
            for seat in self.seats:
                seat.formers = [former for former in seat.formers if former.cut_at == math.inf]
                if not seat.pid:
                    self.fork(seat)
                seat.ready = True

    def fresh(self, settings: Settings) -> None:
        """They were edited."""
        for seat in self.seats:
            seat.post = replace(seat.post, fresh=settings)

    @property
    def serving(self) -> list[str]:
        return [self.names.get(seat.pid, "nobody") for seat in self.seats]


@pytest.fixture
def posts() -> Iterator[list[Post]]:
    with socket.socket() as listening:
        yield [Post(OLD, NOTHING, number, listening, None, "") for number in range(3)]


@pytest.fixture
def fleet(posts: list[Post]) -> Fleet:
    fleet = Fleet(posts)
    fleet.fresh(NEW)
    return fleet


def test_everybody_is_replaced_once(fleet: Fleet) -> None:
    assert fleet.rolling.order() == 3
    fleet.go_on()
    assert fleet.serving == ["new"] * 3
    assert len(fleet.names) == 6


def test_who_dies_before_its_turn_has_a_successor_with_the_new_settings(fleet: Fleet) -> None:
    fleet.rolling.order()
    fleet.die(0)
    fleet.go_on()
    assert fleet.serving == ["new"] * 3


def test_who_was_forked_with_the_old_ones_and_is_starting_at_its_turn_is_replaced_when_it_serves(fleet: Fleet) -> None:
    fleet.rolling.order()
    fleet.die(1)
    fleet.fork(fleet.seats[1])
    for _ in range(10):
        fleet.rolling.step()
        fleet.seats[0].ready = fleet.seats[2].ready = True
    assert fleet.serving == ["new", "old", "new"]
    fleet.go_on()
    assert fleet.serving == ["new"] * 3


@pytest.mark.parametrize("starting", [False, True])
def test_who_is_not_there_when_it_is_asked_for_is_not_forgotten(fleet: Fleet, starting: bool) -> None:
    fleet.die(1)
    if starting:
        fleet.fork(fleet.seats[1])
    assert fleet.rolling.order() == 3
    fleet.go_on()
    assert fleet.serving == ["new"] * 3


def test_one_that_drains_for_long_keeps_nobody_from_being_replaced_again(fleet: Fleet) -> None:
    fleet.rolling.order()
    fleet.go_on()
    fleet.seats[1].formers.append(Former(99, None, cut_at=1e9))
    fleet.fresh(Settings(name="newest"))
    assert fleet.rolling.order() == 3
    fleet.go_on()
    assert fleet.serving == ["newest"] * 3


@pytest.mark.parametrize("starting", [False, True])
def test_who_does_not_come_up_begins_with_what_was_mended(fleet: Fleet, starting: bool) -> None:
    fleet.rolling.order()
    fleet.rolling.step()
    if not starting:
        fleet.die(0)
    fleet.fresh(Settings(name="mended"))
    assert fleet.rolling.order() == (3 if starting else 2)
    fleet.rolling.step()
    assert fleet.serving[1:] == ["old", "old"], "nobody ends before"
    fleet.go_on()
    assert fleet.serving == ["mended"] * 3


def test_asked_for_twice_who_is_being_replaced_is_not_replaced_again(fleet: Fleet) -> None:
    fleet.rolling.order()
    fleet.rolling.step()
    assert fleet.rolling.order() == 2
    fleet.go_on()
    assert len(fleet.names) == 6


def test_an_edit_meanwhile_gives_nobody_the_old_settings_back(posts: list[Post], tmp_path: Path) -> None:
    """Whoever has read the files may not have been replaced itself."""
    edited = replace(NEW, bounds=Bounds(body_bytes=5))
    renewed, other, _ = [replace(post, directory=tmp_path, fresh=NEW) for post in posts]
    write_edition(tmp_path / "edition-1", Edition(edited, NOTHING))
    first, second = commit([replace(renewed, settings=NEW), other], "edition-1")
    assert (first.settings.name, second.settings.name) == ("new", "old")
    assert {post.settings.bounds.body_bytes for post in (first, second)} == {5}
