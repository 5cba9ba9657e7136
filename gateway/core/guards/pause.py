"""What an upstream asked of everybody: "leave this connection alone until T", or "so many calls more until T".

Of pauses the longest wins, and what came later and is shorter does not cut it. How many calls are left is counted down
here, and only corrected downwards, until the time for which it was said: what the upstream says lags behind what is in
flight. The scripts `store/lua/pause.lua` and `guards.lua` are a second implementation, tested equal to this one.
"""

from typing import NamedTuple

from gateway.core.guards import CLEAR, Pausing, Standing, State

MOST_LEFT = 2**32 - 1


class Pause(NamedTuple):
    """What is remembered of one partition. The default is that nothing was asked.

    until_us   until when to leave it alone
    left       calls that may go until `renews_us`; beyond that time, nobody knows
    """

    until_us: int = 0
    left: int = 0
    renews_us: int = 0

    def settled(self, rule: Pausing, now_us: int) -> "Pause":
        """Nothing lasts longer than what is asked now: holds after a clock step, and when the bound is cut."""
        latest_us = now_us + rule.max_us
        return Pause(min(self.until_us, latest_us), self.left, min(self.renews_us, latest_us))

    def standing(self, rule: Pausing, now_us: int) -> Standing:
        """How the pause stands for a call that comes at `now_us`."""
        counting = self.renews_us > now_us
        wait_us = max(self.until_us, self.renews_us if counting and not self.left else 0) - now_us
        if wait_us > 0:
            return Standing(State.OPEN, wait_us)
        return Standing(probe=self.left) if counting else CLEAR

    def entered(self, rule: Pausing, now_us: int) -> tuple["Pause", Standing]:
        """One call more goes, which nothing holds back."""
        standing = self.standing(rule, now_us)
        return (self._replace(left=self.left - 1) if standing.probe else self), standing

    def lives_us(self, rule: Pausing, now_us: int) -> int:
        """For how long it has to be remembered; 0 = it says nothing."""
        return max(0, self.until_us - now_us, self.renews_us - now_us)

    def asked(self, rule: Pausing, for_us: int, now_us: int, left: int = 0) -> tuple["Pause", bool]:
        """The upstream lets so many calls through within that time; 0 = none: a pause. Returns whether a pause began.

        for_us  0 = an operator ends all of it
        """
        if for_us <= 0:
            return Pause(), False
        until_us = now_us + min(for_us, rule.max_us)
        known = self.settled(rule, now_us)
        if known.renews_us <= now_us:
            known = Pause(known.until_us)
        if not left:
            return known._replace(until_us=max(known.until_us, until_us)), known.until_us <= now_us
        if known.renews_us:
            return known._replace(left=min(known.left, left)), False
        return Pause(known.until_us, min(left, MOST_LEFT), until_us), False
