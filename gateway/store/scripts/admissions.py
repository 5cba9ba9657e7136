"""The command that asks for a decision: the same admit script, whichever server it goes to."""

from collections.abc import Callable
from time import time_ns
from typing import Any, cast

from gateway.core.ask import Ask
from gateway.core.limits import Algorithm, Charge, Decision, Limit
from gateway.core.units import SECOND_US
from gateway.store.connection.link import Decode, Link, pack
from gateway.store.scripts.forms import AdmitForm, bulk
from gateway.store.scripts.limits import decode_admit, encode_admit
from gateway.store.scripts.sources import ADMIT, SCRIPTS
from gateway.store.scripts.statuses import STATUS

Admission = tuple[bytes, Decode, Ask, str]
"""The arguments of `Pipeline.ask`."""

_PROBE = Limit("gateway-probe", Algorithm.FIXED_WINDOW, quota=1, window_us=SECOND_US, key=())

_MOST_FORMS = 1_000


class Admissions:
    """Writes them for keys with one prefix.

    ahead_us  by how much the server's clock is ahead of ours, as far as is known. Only windows by the calendar need it
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.ahead_us = 0
        self._forms: dict[tuple[int, tuple[bytes, ...]], AdmitForm] = {}

    def write(self, ask: Ask, lease: str, *, commit: bool, now_us: int = 0) -> Admission:
        """One decision; commit False = peek. now_us: 0 = the server's clock; anything else is for tests."""
        arguments = encode_admit(
            ask, lease, prefix=self._prefix, commit=commit, now_us=now_us, ahead_us=0 if now_us else self.ahead_us
        )
        command = pack(("EVALSHA", ADMIT.sha1_hex, *arguments))
        decode: Callable[[Any, Any], Decision] = self._decode_and_learn if ask.kind.by_calendar else decode_admit
        return command, decode, ask, ADMIT.source

    def form(self, ask: Ask) -> AdmitForm:
        """How an ask is put whose calls all send the same, see `Kind.alike`: worked out once, and remembered by it."""
        if ask.form is None:
            keys, *arguments = encode_admit(ask, "", prefix=self._prefix, commit=True)
            assert isinstance(keys, int), "the number of keys comes first"
            ask.packed = b"".join([bulk(str(key).encode()) for key in arguments[:keys]])
            ask.form = self._of(keys, cast("tuple[bytes, ...]", tuple(arguments[keys + 3 :])))
        form: AdmitForm = ask.form
        return form

    def _of(self, keys: int, rules: tuple[bytes, ...]) -> AdmitForm:
        """One for all who are asked the same: by it they know each other."""
        known = self._forms.get((keys, rules))
        if known is None:
            if len(self._forms) >= _MOST_FORMS:
                self._forms.clear()
            known = self._forms[keys, rules] = AdmitForm(keys, rules)
        return known

    def probe(self, name: str) -> Admission:
        """A real admission, so that it fails whenever a caller's would: rights, memory, a read-only replica. Its answer
        comes before the first caller's question, and says what time it is there.

        name  what follows the limit's name in the key. A new one each time, because a refusal writes nothing
        """
        command, _, ask, source = self.write(Ask([Charge(_PROBE, f"{_PROBE.name}:{name}", 1)]), "", commit=True)
        return command, self._decode_and_learn, ask, source

    def _decode_and_learn(self, reply: bytes, ask: Ask) -> Decision:
        """Learns from the answer what the server's clock says: the next borders are those around it."""
        decision = decode_admit(reply, ask)
        self.ahead_us = decision.now_us - time_ns() // 1000
        return decision


def load_scripts(link: Link) -> None:
    """So that the first use of each is not a miss, whose second sending would come after later commands.

    Where `SCRIPT` is not allowed, it is that: EVAL loads them one by one. A server that wants a password says so to the
    PING; at a script of more than 16 KiB it would hang up without a word of it.
    """
    link.offer(pack(("PING",)))
    for script in (*SCRIPTS, STATUS):
        link.offer(pack(("SCRIPT", "LOAD", script.source)))
