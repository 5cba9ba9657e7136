"""When a reload that failed is tried again, and what of it is told."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Never

import pytest

from gateway.reload import transaction
from gateway.reload.again import FIRST_S, MOST_S, Again
from gateway.reload.edition import Edition
from gateway.reload.outcome import Outcome
from gateway.reload.transaction import Reload
from gateway.siblings import Siblings
from tests.fakes.waiting import eventually


def outcome(result: str, *codes: str, detail: str = "") -> Outcome:
    return Outcome(result, "v1", "watch", "now", errors=[{"code": code} for code in codes], detail=detail)


LOADED, UNCHANGED, FAILED = outcome("loaded"), outcome("unchanged"), outcome("failed", detail="worker 2: no answer")
WRONG, UNREADABLE = outcome("rejected", "unknown-key"), outcome("rejected", "not-found", "unreadable")


def test_only_what_may_pass_is_tried_again() -> None:
    assert [one.may_pass for one in (LOADED, UNCHANGED, FAILED, WRONG, UNREADABLE)] == [False, False, True, False, True]


def test_tries_get_rarer_up_to_a_bound() -> None:
    again, now_s, waits = Again(), 1000.0, []
    assert not again.due(now_s)
    for _ in range(9):
        again.after(FAILED, now_s)
        wait_s = next(tenth / 10 for tenth in range(10_000) if again.due(now_s + tenth / 10))
        waits.append(wait_s)
        now_s += wait_s
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60] == [min(FIRST_S * 2**n, MOST_S) for n in range(9)]
    again.after(WRONG, now_s)
    assert not again.due(now_s + 1e9)
    again.after(UNREADABLE, now_s)
    assert again.due(now_s + FIRST_S)


def test_what_is_told_that_nobody_asked_for() -> None:
    """What is new: not that nothing is, and not the same trouble once more."""
    assert all(one.is_news_after(LOADED) for one in (LOADED, FAILED, WRONG, UNREADABLE))
    assert all(one.is_news_after(None) for one in (LOADED, FAILED, WRONG))
    assert not UNCHANGED.is_news_after(None)
    assert not UNCHANGED.is_news_after(LOADED)
    assert all(UNCHANGED.is_news_after(one) for one in (FAILED, WRONG, UNREADABLE))
    assert not any(one.is_news_after(one._replace(at="later", took_ms=9)) for one in (FAILED, WRONG, UNREADABLE))
    assert WRONG.is_news_after(UNREADABLE)
    assert FAILED.is_news_after(FAILED._replace(detail="worker 1: no answer"))


async def test_a_directory_that_takes_nothing_is_the_same_trouble_each_time(tmp_path: Path) -> None:
    """As when the disk is full: whatever the edition would have been called. Else it were told at every try."""
    siblings: Any = SimpleNamespace(alone=False, on=lambda *_: None)
    nothing: Any = None
    reload = Reload(nothing, siblings, None, tmp_path / "gone")
    edition = Edition(nothing, nothing)
    first, again = [await reload._put_in_place(edition, lambda: LOADED) for _ in range(2)]
    assert first == again == f"{tmp_path / 'gone'}: an edition cannot be written: No such file or directory"


async def test_a_host_that_has_no_thread_to_give_does_not_end_the_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are read in threads. Once there are some again, edits are seen as ever."""
    tried: list[object] = []

    async def none(work: object, *_: object) -> Never:
        tried.append(work)
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(asyncio, "to_thread", none)
    sources: Any = SimpleNamespace(stamp="look", read="read", began=None)
    worker: Any = SimpleNamespace(
        settings=None, policies=SimpleNamespace(version="v1", files=()), reloaded=lambda _outcome: None
    )
    reload = Reload(worker, Siblings(0), sources, None)
    reload.start()
    await eventually(lambda: tried.count("look") >= 3)
    assert "read" in tried
    await reload.close()


async def test_a_signal_that_another_has_obeyed_is_not_obeyed_again_by_who_leads_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It comes to all workers. Whoever takes the lead reads the files once, unasked."""
    monkeypatch.setattr(transaction, "LOOK_S", 0.01)
    handlers: dict[str, Any] = {}
    told: list[Outcome] = []
    looks: list[object] = []
    wrong = SimpleNamespace(settings=None, policies=None, errors=(), warnings=())
    sources: Any = SimpleNamespace(stamp=lambda *_: looks.append(_) or (), read=lambda: wrong)
    siblings: Any = SimpleNamespace(alone=False, on=handlers.__setitem__, tell_all=lambda *_: None)
    worker: Any = SimpleNamespace(settings=None, policies=SimpleNamespace(version="v1", files=()), reloaded=told.append)
    reload = Reload(worker, siblings, sources, None)
    reload.signalled()
    handlers["reload.lead"]({})
    await eventually(lambda: len(looks) >= 4)
    assert [one.why for one in told] == ["watch"]
    reload.signalled()
    await eventually(lambda: len(told) == 2)
    assert told[1].why == "signal"
    await reload.close()
