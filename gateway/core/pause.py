"""A pause: "leave this connection alone until T", as its upstream asked.

The longest wins, and what came later and is shorter does not cut it. The script `gateway/store/lua/pause.lua` is a
second implementation, tested equal to this one.
"""

from typing import NamedTuple

from gateway.core.guards import CLEAR, Pausing, Standing, State


class Pause(NamedTuple):
    """What is remembered of one partition: until when to leave it alone. The default is no pause."""

    until_us: int = 0

    def settled(self, rule: Pausing, now_us: int) -> "Pause":
        """No pause lasts longer than one made now: holds after a clock step, and when the bound is cut."""
        return Pause(min(self.until_us, now_us + rule.max_us))

    def standing(self, rule: Pausing, now_us: int) -> Standing:
        """What a call hears."""
        wait_us = self.until_us - now_us
        return Standing(State.OPEN, wait_us) if wait_us > 0 else CLEAR

    def entered(self, rule: Pausing, now_us: int) -> tuple["Pause", Standing]:
        """A call that nothing holds back changes nothing."""
        return self, CLEAR

    def lives_us(self, rule: Pausing, now_us: int) -> int:
        """For how long it has to be remembered; 0 = it says nothing."""
        return max(0, self.until_us - now_us)

    def asked(self, rule: Pausing, for_us: int, now_us: int) -> tuple["Pause", bool]:
        """The upstream asked for so long a rest; 0 = an operator ends the pause. Returns whether a pause began."""
        if for_us <= 0:
            return Pause(), False
        known = self.settled(rule, now_us)
        until_us = now_us + min(for_us, rule.max_us)
        return Pause(max(known.until_us, until_us)), known.until_us <= now_us
