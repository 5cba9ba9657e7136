"""Decisions about calls on a Redis Cluster: in one trip where one server can decide, in two where several have to."""

from collections.abc import Callable, Sequence
from typing import cast

from gateway.core.ask import Ask
from gateway.core.limits import Decision
from gateway.store import StoreDown
from gateway.store.cluster.groups import Group, by_slot, one_by_one, together
from gateway.store.cluster.node import Message
from gateway.store.cluster.nodes import Nodes
from gateway.store.connection.crowd import Form
from gateway.store.connection.faults import Redirected
from gateway.store.scripts.admissions import Admissions
from gateway.store.scripts.limits import decode_admit
from gateway.store.scripts.sources import ADMIT

Groups = tuple[Group, ...]


class Deciding:
    """`admit` and `peek` of a store.

    slot       of a key without its prefix
    give_back  undoes what one group charged for a call that was not admitted: (group, its answer, lease)
    now_us     0 = the servers' clocks; anything else is for tests
    """

    def __init__(
        self,
        nodes: Nodes,
        admissions: Admissions,
        slot: Callable[[str], int],
        give_back: Callable[[Group, Decision, str], None],
    ) -> None:
        self.now_us = 0
        self._nodes = nodes
        self._admissions = admissions
        self._slot = slot
        self._give_back = give_back

    async def admit(self, ask: Ask, lease: str) -> Decision:
        """See `Store.admit`."""
        groups = self._groups(ask)
        if len(groups) == 1:
            decision = await self._in_one_slot(ask, groups[0], lease, commit=True)
        else:
            decision = await self._in_several(ask, groups, lease)
        if decision.verdicts:
            ask.see(decision)
        return decision

    async def peek(self, ask: Ask) -> Decision:
        """See `Store.peek`."""
        groups = self._groups(ask)
        if len(groups) == 1:
            return await self._in_one_slot(ask, groups[0], "", commit=False)
        groups, seen = await self._look(ask, groups)
        return together(ask, groups, seen, commit=False)

    def _groups(self, ask: Ask) -> Groups:
        groups: Groups | None = ask.packed
        if groups is None:
            groups = ask.packed = by_slot(ask, self._slot)
        return groups

    async def _in_one_slot(self, ask: Ask, group: Group, lease: str, *, commit: bool) -> Decision:
        try:
            return cast("Decision", await self._nodes.ask(group.slot, *self._question(group, lease, commit=commit)))
        except Redirected:
            groups = one_by_one(ask, self._slot)
        if commit:
            return await self._in_several(ask, groups, lease)
        groups, seen = await self._look(ask, groups)
        return together(ask, groups, seen, commit=False)

    async def _in_several(self, ask: Ask, groups: Groups, lease: str) -> Decision:
        """Look at all; if all would admit, charge all; if then not all did after all, give back."""
        groups, seen = await self._look(ask, groups)
        if not all(decision.admitted for decision in seen):
            return together(ask, groups, seen, commit=True)
        taken = await self._each(groups, lease, commit=True)
        faults = [answer for answer in taken if isinstance(answer, StoreDown)]
        if not faults and all(answer.admitted for answer in taken if isinstance(answer, Decision)):
            return together(ask, groups, _decisions(taken), commit=True)
        for at, (group, answer) in enumerate(zip(groups, taken, strict=True)):
            if isinstance(answer, Decision) and answer.admitted:
                self._give_back(group, answer, lease)
                taken[at] = seen[at]
        if faults:
            raise plain(faults[0])
        return together(ask, groups, _decisions(taken), commit=True)

    async def _look(self, ask: Ask, groups: Groups) -> tuple[Groups, list[Decision]]:
        """What each group would answer; with a group a key, if keys are on their way to another server."""
        seen = await self._each(groups, "", commit=False)
        if any(isinstance(answer, Redirected) for answer in seen):
            groups = one_by_one(ask, self._slot)
            seen = await self._each(groups, "", commit=False)
        for answer in seen:
            if isinstance(answer, StoreDown):
                raise plain(answer)
        return groups, _decisions(seen)

    async def _each(self, groups: Groups, lease: str, *, commit: bool) -> list[Decision | StoreDown]:
        """All groups' answers, asked at once."""
        questions = [self._question(group, lease, commit=commit) for group in groups]
        sent = [self._nodes.send(group.slot, *question) for group, question in zip(groups, questions, strict=True)]
        answers: list[Decision | StoreDown] = []
        try:
            for group, (question, _), future in zip(groups, questions, sent, strict=True):
                try:
                    answers.append(await self._nodes.answer(group.slot, question, future))
                except StoreDown as fault:
                    answers.append(fault)
        finally:
            for future in sent[len(answers) :]:
                future.cancel()
        return answers

    def _question(self, group: Group, lease: str, *, commit: bool) -> tuple[Message, Form | None]:
        if commit and group.ask.kind.alike and not self.now_us:
            form = self._admissions.form(group.ask)
            return (form.once(group.ask), decode_admit, group.ask, ADMIT.source), form
        return self._admissions.write(group.ask, lease, commit=commit, now_us=self.now_us), None


def _decisions(answers: Sequence[Decision | StoreDown]) -> list[Decision]:
    return [answer for answer in answers if isinstance(answer, Decision)]


def plain(fault: StoreDown) -> StoreDown:
    """The fault without what only the cluster's own code needs."""
    return StoreDown(fault.kind, fault.detail)
