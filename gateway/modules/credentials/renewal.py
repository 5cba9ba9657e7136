"""Keeps one credential supplied with a token: had with the first call that needs one, renewed before it expires.

While a token serves, calls never wait: the one that comes when it is time for the next has it fetched beside itself.
Whatever happens to the fetching, a token that still serves stays in use. There is never more than one fetch in flight
here, and with a shared vault never more than one in the whole fleet.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from gateway.core.access.credentials import Credential
from gateway.core.access.hidden import NOTHING_HIDDEN
from gateway.core.access.tokens import CHANCE, Failure, Token, renew_in_us, serves_us, wait_us
from gateway.core.units import SECOND_US
from gateway.lasting import lasting
from gateway.modules.credentials.endpoint import Endpoint
from gateway.modules.credentials.vault import Taken, Vault

LEAST_AGE_S, MOST_AGE_S = 10.0, 300.0
"""A token that was had so lately is not renewed because of a 401: an upstream that says 401 to everything must not
become a flood of requests to the token endpoint. It takes twice as long after each renewal that a 401 has caused, until
one comes in its time."""
LOOK_S, PATIENCE_S = 0.1, 15.0
"""How often, and for how long, a worker looks whether the one with the lease has put a token there."""
LATE_S = 5.0
"""Who has waited so long for the lease may hold it no longer when the endpoint gets the request."""
PUT_AGAIN_S, PUT_LAST_S = 0.25, 30.0
"""How long after the store would not take a refresh token it is offered again: at first, and at most."""
NEVER_S = float("-inf")
BUSY = Failure(False, "another worker is still asking the token endpoint")
NO_STORE = Failure(False, "the store does not answer: a refresh token is not used twice")
SPENT = Failure(False, "the token had expired when it came")
BROKEN = Failure(False, "an internal error")


class NoToken(Exception):
    """There is none to be had now; `failure` says why, and nothing will change for `wait_s`."""

    def __init__(self, failure: Failure, wait_s: float) -> None:
        super().__init__(failure.reason)
        self.failure = failure
        self.wait_s = wait_s


class Kept(Enum):
    """What became of a token that was to be kept for all."""

    FOR_ALL = "for all"
    OVERTAKEN = "overtaken"
    """While this process was held up another worker has had one, which is used here, too."""
    FOR_NOBODY = "for nobody"
    """The same, but that one is of no use here."""
    NOT_YET = "not yet"
    """The store does not answer, or another worker is asking for one just now."""


Tell = Callable[[Credential, str, Mapping[str, object]], None]


@dataclass(slots=True)
class Surroundings:
    """What renewals use of the world. `tell` may be replaced.

    clock   monotonic seconds
    chance  a random number below `core.access.tokens.CHANCE`
    tell    told what came of each request: renewed, shared (it was another worker's), refused, unavailable; and of
            unkept: the store did not take a refresh token, which is offered again
    """

    clock: Callable[[], float]
    chance: Callable[[], int]
    tell: Tell


class Renewal:
    """Keeps the token of one credential.

    line  the field line that upstreams are shown; b"" before the first token
    """

    def __init__(self, credential: Credential, endpoint: Endpoint, vault: Vault, around: Surroundings) -> None:
        assert credential.oauth is not None, "what lasts is not renewed"
        self.line = b""
        self.credential = credential
        self.failure: Failure | None = None
        self.refresh = credential.oauth.refresh_token
        self._oauth = credential.oauth
        self._endpoint = endpoint
        self._vault = vault
        self._around = around
        self._version = 0
        self._had_s = self._shown_from_s = self._serves_until_s = self._renew_from_s = self._not_before_s = NEVER_S
        self._least_age_s = LEAST_AGE_S
        self._suspected = False
        self.renewals = self._failures = 0
        self._flight: asyncio.Task[None] | None = None
        self._unkept: tuple[Token, float] | None = None
        self._putting: asyncio.Task[None] | None = None

    @property
    def serving(self) -> bool:
        """Whether there is a token that can be shown now."""
        return bool(self.line) and self._around.clock() < self._serves_until_s

    def status(self) -> Mapping[str, object]:
        """For people. Seconds from now; None = never, or not at all."""
        now = self._around.clock()
        return {
            "serving": self.serving,
            "serves_s": max(0, round(self._serves_until_s - now)) if self.line else None,
            "had_s_ago": round(now - self._had_s) if self.line else None,
            "renewals": self.renewals,
            "failures": self._failures,
            "reason": self.failure.reason if self.failure is not None else None,
            "again_s": max(0, round(self._not_before_s - now)) if self.failure is not None else None,
        }

    async def ready(self) -> None:
        """Return when there is a token to show. Waits only while none serves. Raises NoToken."""
        now = self._around.clock()
        if now < self._renew_from_s:
            return
        if self.serving:
            if now >= self._not_before_s:
                self._fly()
            return
        await self._renewed()
        if not self.serving:
            raise NoToken(self.failure or BUSY, max(0.0, self._not_before_s - self._around.clock()))

    async def renew(self, shown_s: float) -> bool:
        """The upstream has refused what it was shown at this time: wait for another token. Whether there is one."""
        if not self._newer_than(shown_s) and self.suspect():
            await self._renewed()
        return self._newer_than(shown_s)

    def suspect(self) -> bool:
        """The upstream has refused the token: get another, unless it is too early. Whether one is under way."""
        now = self._around.clock()
        if self._flight is not None:
            return True
        if now - self._had_s < self._least_age_s or now < self._not_before_s:
            return False
        self._least_age_s = min(2 * self._least_age_s, MOST_AGE_S)
        self._suspected = True
        self._fly()
        return True

    def _newer_than(self, shown_s: float) -> bool:
        return self.serving and self._shown_from_s > shown_s

    async def close(self, *, awaited: bool) -> None:
        """End what is under way; but an answer that may hold the only refresh token is waited for, and kept.

        awaited  so is any other: calls under way may wait for it
        """
        if self._flight is not None:
            if self._oauth.grant != "refresh_token" and not awaited:
                self._flight.cancel()
            await asyncio.wait((self._flight,))
        if self._putting is not None:
            self._putting.cancel()
            await asyncio.wait((self._putting,))
        if self._unkept is not None:
            await self._keep(*self._unkept)

    async def _renewed(self) -> None:
        """Join the fetch in flight, or begin one if it is time. Whoever stops waiting does not stop it."""
        if self._flight is None and self._around.clock() < self._not_before_s:
            return
        await asyncio.wait((self._fly(),))

    def _fly(self) -> "asyncio.Task[None]":
        if self._flight is None:
            self._flight = asyncio.create_task(self._fetch())
            self._flight.add_done_callback(self._landed)
        return self._flight

    def _landed(self, flight: "asyncio.Task[None]") -> None:
        self._flight = None
        if not flight.cancelled() and flight.exception() is not None:
            self._failed(BROKEN)

    async def _fetch(self) -> None:
        """From the vault, or with its lease from the endpoint."""
        began = self._around.clock()
        while True:
            if self._unkept is not None:  # what others have kept is older than what this worker knows
                await self._ask()
                return
            sent_s = self._around.clock()
            taken = await self._vault.take(self._version)
            if taken is None and self._vault.shared and self._oauth.grant == "refresh_token":
                self._failed(NO_STORE)
                return
            if taken is not None and taken.mine and self._around.clock() - sent_s > LATE_S:
                continue  # this process was stopped in between
            if taken is None or taken.mine:
                self.refresh = (taken.refresh if taken is not None else NOTHING_HIDDEN) or self.refresh
                await self._ask()
                return
            if self._take_over(taken) or not await self._wait(taken, began):
                return

    def _take_over(self, taken: Taken) -> bool:
        """Use what another worker has put there; False = there is nothing new that serves."""
        newer, self._version = taken.version > self._version, max(taken.version, self._version)
        self.refresh = taken.refresh or self.refresh
        token = taken.token
        if token is None or not newer or taken.left_us <= token.life_us - serves_us(token.life_us):
            return False
        self._use(token, self._around.clock() - (token.life_us - taken.left_us) / 1e6)
        self._around.tell(self.credential, "shared", {"left_s": taken.left_us // SECOND_US})
        return True

    async def _wait(self, taken: Taken, began: float) -> bool:
        """Nobody has the lease, or somebody else, or the endpoint has failed somebody else. False = it makes no sense
        to wait."""
        now = self._around.clock()
        if taken.failure is not None:
            self.failure, self._not_before_s = taken.failure, now + taken.held_us / 1e6
            return False
        if taken.held_us and ((self.serving and not self._suspected) or now - began > PATIENCE_S):
            self._not_before_s = now + 1
            return False
        if taken.held_us:
            await asyncio.sleep(LOOK_S)
        return True

    async def _ask(self) -> None:
        """The token is kept for all before anybody shows it: who dies after that has lost nothing."""
        began = self._around.clock()
        answer = await self._endpoint.ask(self._oauth, self.refresh.reveal())
        if isinstance(answer, Failure):
            await self._vault.fail(answer, self._failed(answer), self._version)
            return
        self.refresh = answer.refresh or self.refresh
        rotated = self.refresh if self.refresh != self._oauth.refresh_token else NOTHING_HIDDEN
        token = answer._replace(refresh=rotated)
        kept = await self._keep(token, began)
        if kept is not Kept.OVERTAKEN and self._around.clock() >= began + serves_us(token.life_us) / 1e6:
            await self._vault.fail(SPENT, self._failed(SPENT), self._version)
        else:
            self.renewals += 1
            if kept is not Kept.OVERTAKEN:
                self._use(token, began)
            self._around.tell(self.credential, "renewed", {"life_s": token.life_us // SECOND_US})
        if rotated and self._vault.shared and kept is Kept.NOT_YET:
            self._around.tell(self.credential, "unkept", {})
            self._unkept = (token, began)
            self._putting = self._putting or lasting("refresh token", self._insist)

    async def _keep(self, token: Token, had_s: float) -> "Kept":
        left_us = max(0, token.life_us - int((self._around.clock() - had_s) * 1e6))
        there = await self._vault.put(token, left_us, self._version)
        if there is None:
            return Kept.NOT_YET
        if there.mine:
            self._version = there.version
            return Kept.FOR_ALL
        if there.version <= self._version:
            return Kept.NOT_YET
        return Kept.OVERTAKEN if self._take_over(there) else Kept.FOR_NOBODY

    async def _insist(self) -> None:
        """Only this worker knows the refresh token: offer it again and again until the store takes it."""
        wait_s = PUT_AGAIN_S
        while (unkept := self._unkept) is not None:
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, PUT_LAST_S)
            if await self._keep(*unkept) is not Kept.NOT_YET and self._unkept is unkept:
                self._unkept = None
        self._putting = None

    def _use(self, token: Token, had_s: float) -> None:
        """`had_s`: when it began to live, at the latest: before the request for it was sent."""
        self.line = self.credential.line(token.access.reveal())
        self._shown_from_s = self._around.clock()
        if had_s >= self._renew_from_s:
            self._least_age_s = LEAST_AGE_S
        self.failure, self._failures, self._suspected = None, 0, False
        self._had_s, self._not_before_s = had_s, NEVER_S
        self._serves_until_s = had_s + serves_us(token.life_us) / 1e6
        self._renew_from_s = had_s + renew_in_us(token.life_us, self._around.chance() % CHANCE) / 1e6

    def _failed(self, failure: Failure) -> int:
        """Leave the endpoint alone for a while: how long, in microseconds."""
        self.failure = failure
        self._failures += 1
        for_us = wait_us(failure, self._failures, self._around.chance() % CHANCE)
        self._not_before_s = self._around.clock() + for_us / 1e6
        word = "refused" if failure.refused else "unavailable"
        self._around.tell(self.credential, word, {"reason": failure.reason, "again_s": round(for_us / 1e6, 3)})
        return for_us
