"""Who reads the files again, as far as the admin listener has to know."""

from typing import Any, Protocol

STATUS = {"loaded": 200, "unchanged": 200, "rejected": 422, "failed": 503}


class Outcome(Protocol):
    """What came of a reload; `gateway.reload.edition` has more to say about it."""

    @property
    def result(self) -> str:
        """A key of STATUS."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""


class Reloads(Protocol):
    """Who reloads."""

    @property
    def last(self) -> Outcome | None:
        """Of this gateway; None = there was none since it began."""

    async def ask(self, why: str) -> Outcome:
        """Read the files now. Never raises."""


def last(reloads: Reloads) -> dict[str, Any]:
    """How the last reload went."""
    return reloads.last.as_dict() if reloads.last is not None else {"result": "none"}
