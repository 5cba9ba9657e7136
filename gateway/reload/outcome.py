"""What came of a reload, for who asked for it, for the log and for whoever looks later."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gateway.core.preview.policy_diff import Difference

MOST_SHOWN, MOST_SHOWN_CHARS = 100, 200_000
"""Errors, and differences, in an answer."""


class Outcome(NamedTuple):
    """What came of a reload.

    result   loaded, unchanged, rejected (the files are wrong) or failed (a worker did not get it ready)
    version  of the policy set in force now
    why      who asked: watch, signal, admin
    errors   as `PolicyError.as_dict`
    diff     as `Difference.as_dict`
    """

    result: str
    version: str
    why: str
    at: str
    took_ms: int = 0
    errors: Sequence[Mapping[str, Any]] = ()
    warnings: int = 0
    changes: Mapping[str, int] = {}
    diff: Sequence[Mapping[str, Any]] = ()
    settings: Mapping[str, Sequence[str]] = {}
    detail: str = ""

    @property
    def good(self) -> bool:
        """Whether what is in force is what the files say."""
        return self.result in ("loaded", "unchanged")

    @property
    def may_pass(self) -> bool:
        """Whether the same files may do later: the machine was short of something, or a worker was."""
        return self.result == "failed" or any(error["code"] == "unreadable" for error in self.errors)

    def is_news_after(self, last: "Outcome | None") -> bool:
        """Whether it has to be told when nobody has asked for it."""
        if self.result == "unchanged":
            return last is not None and not last.good
        if self.result == "loaded" or last is None:
            return True
        return (self.result, self.detail, [*self.errors]) != (last.result, last.detail, [*last.errors])

    def as_dict(self) -> dict[str, Any]:
        """For JSON; what is empty is left out."""
        return {name: value for name, value in self._asdict().items() if value or name == "result"}


def shown(found: Sequence[Difference]) -> list[dict[str, Any]]:
    """As many differences as fit an answer; `changes` counts them all."""
    shown, room = [], MOST_SHOWN_CHARS
    for one in found[:MOST_SHOWN]:
        document = one.as_dict()
        room -= len(str(document))
        if room < 0:
            break
        shown.append(document)
    return shown
