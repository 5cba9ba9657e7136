"""Error replies of the server as StoreDown: which kind, and whether they concern one command or all of them.

The first word of an error reply is its code (Redis protocol specification, "Simple errors"). Redis 6.2 wraps the error
of a command inside a script as `ERR Error running script ... OOM command not allowed`; later servers pass it as it is.
"""

import re
from contextlib import suppress

from gateway.store import StoreDown

BUSY = frozenset({"BUSY", "LOADING", "CLUSTERDOWN"})
"""Passes by itself: a script runs too long, the data set is being read, the cluster has lost a primary."""

REDIAL = frozenset({"READONLY", "MASTERDOWN", "NOAUTH", "WRONGPASS", "NOPERM", "MOVED", "ASK"})
"""Wrong server or wrong rights: a new connection (which asks the Sentinels anew) may help, this one will not."""

REDIRECTS = frozenset({"MOVED", "ASK", "TRYAGAIN"})
"""Where slots are, says a server of a Redis Cluster: about one command, and nothing is wrong with the server."""

REFUSING = frozenset({"OOM", "MISCONF", "NOREPLICAS"})
"""The server takes no writes: memory is full, saving fails, too few replicas."""

_ELSEWHERE = re.compile(r"(?:MOVED|ASK) (\d{1,5}) ")
_WRAPPED = re.compile(rf"\b({'|'.join(sorted(BUSY | REDIAL | REFUSING))}) ")
_WHERE_IN_SCRIPT = re.compile(r" script: [0-9a-f]+, on @user_script:\d+\.?$")
_MEANING = {"OOM": "its memory is full"}
"""For who does not know the server's own words by heart."""
_DETAIL_CHARS = 200
_OF_A_CLUSTER = "a server of a Redis Cluster, its URL begins with redis+cluster://"
_SLOTS_APART = "CROSSSLOT"
_A_SENTINEL = "a Sentinel? Then its URL begins with redis+sentinel://"
_ANOTHER_KIND = {
    **dict.fromkeys(("EVALSHA", "SELECT", "CLUSTER"), _A_SENTINEL),
    "SENTINEL": "no Sentinel, the URL of a single server begins with redis://",
}
"""What it means that a server does not know a command which every one of the kind that the URL names has."""
_UNKNOWN_COMMAND = re.compile(rf"unknown command [`']({'|'.join(_ANOTHER_KIND)})\b")
_LACKS_A_RIGHT = re.compile(r"executing the script can't|ACL failure in script")
"""What Redis (6.2 to 7.0, then later ones) and Valkey say of a command inside a script, which is no code of its own."""


def code_of(text: str) -> str:
    """`OOM` of `OOM command not allowed ...`, wrapped or not."""
    code = text.partition(" ")[0]
    wrapped = _WRAPPED.search(text) if code == "ERR" else None
    return wrapped[1] if wrapped else code


def in_words(text: str) -> str:
    """An error reply, or what redis-py makes of it, as it is told: without the arguments that some quote, and with a
    hint where it is the reply of another kind of server."""
    said = text.partition(", with args beginning with")[0]
    unknown = _UNKNOWN_COMMAND.search(said)
    return f"{said}: {_ANOTHER_KIND[unknown[1]]}" if unknown else said


def shortened(text: str) -> str:
    """An error reply without what some servers advise at length: whole sentences, if there is one."""
    cut = text[:_DETAIL_CHARS]
    return (cut[: cut.rfind(". ") + 1] or cut) if len(text) > _DETAIL_CHARS else text


def fault_of(text: str) -> StoreDown:
    """The exception for one error reply, without the arguments that some replies quote."""
    code = code_of(text)
    detail = in_words(shortened(text))
    if code in BUSY:
        return StoreDown("busy", detail)
    if code in REDIRECTS:
        return StoreDown("other", f"{detail}: {_OF_A_CLUSTER}")
    if code in REDIAL or code in REFUSING:
        detail = _WHERE_IN_SCRIPT.sub("", detail)
        return StoreDown("other", f"{detail.rstrip('. ')}: {_MEANING[code]}" if code in _MEANING else detail)
    return StoreDown("script", f"{detail}: {_OF_A_CLUSTER}" if code == _SLOTS_APART else detail)


def sent_away_from(text: str) -> int | None:
    """The slot that is another server's, as one of a Redis Cluster says in this error reply; None = it does not."""
    elsewhere = _ELSEWHERE.match(text)
    return int(elsewhere[1]) if elsewhere else None


class Redirected(StoreDown):
    """The answer of a cluster's server to a command that another one should get. Never leaves the store.

    code     MOVED: ask that server from now on; ASK: ask it this time; TRYAGAIN: the keys of the command are on their
             way, some here and some there
    host     "" = the server that says so
    """

    def __init__(self, text: str) -> None:
        super().__init__("busy", text[:_DETAIL_CHARS])
        self.code, *rest = text.split(" ")
        host, _, port = rest[1].rpartition(":") if self.code != "TRYAGAIN" else ("", "", "0")
        self.host, self.port = host, int(port)


def cluster_fault_of(text: str) -> StoreDown:
    """`fault_of`, for a server of a Redis Cluster."""
    if code_of(text) in REDIRECTS:
        with suppress(ValueError, IndexError):
            return Redirected(text)
    return fault_of(text)


def unexpected(error: Exception) -> StoreDown:
    """The exception for a reply of another shape: what reading it raised."""
    return StoreDown("script", f"unexpected reply: {type(error).__name__}")


def is_about_the_store(fault: StoreDown) -> bool:
    """Whether the next command would fail alike: the store counts as down until it has proved itself."""
    return fault.kind != "script" and not isinstance(fault, Redirected)


def some_calls_fail(fault: StoreDown) -> bool:
    """Whether it will be so with calls of this kind, while others are decided: a command inside a script is forbidden
    to our user, or the server is alone in its cluster and takes no keys of two slots together."""
    if fault.kind != "script":
        return False
    return code_of(fault.detail) == _SLOTS_APART or _LACKS_A_RIGHT.search(fault.detail) is not None


def needs_redial(fault: StoreDown) -> bool:
    """Whether only another connection can help."""
    return code_of(fault.detail) in REDIAL
