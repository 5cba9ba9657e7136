"""The scripts that the server runs, put together from the files of `store/lua/`."""

from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path

from gateway.store.scripts.constants import inlined


@dataclass(frozen=True, slots=True)
class Script:
    """One script: `EVALSHA sha1_hex <encoded arguments>`; on NOSCRIPT, `SCRIPT LOAD source` or `EVAL source`."""

    name: str
    source: str
    sha1_hex: str


def load_script(name: str, *parts: str) -> Script:
    """The script that these files of `store/lua/` make up together, in this order, its constants put in."""
    lua = Path(__file__).parents[1] / "lua"
    source = inlined("\n".join((lua / f"{part}.lua").read_text("utf-8") for part in parts))
    return Script(name, source, sha1(source.encode(), usedforsecurity=False).hexdigest())


_ALGORITHMS = ("rolling_window", "token_bucket", "fixed_window", "concurrency")

ADMIT = load_script("admit", "clock", "common", *_ALGORITHMS, "circuit", "guards", "admit")
RELEASE = load_script("release", "release")
RENEW = load_script("renew", "clock", "renew")
SETTLE = load_script("settle", "clock", "common", *_ALGORITHMS, "settle")
REPORT = load_script("report", "clock", "circuit", "report")
FORCE = load_script("force", "clock", "circuit", "force")
PAUSE = load_script("pause", "clock", "pause")
HEARTBEAT = load_script("heartbeat", "clock", "heartbeat")
GRANT = load_script("grant", "clock", "grant")
LIST_ONE = load_script("list", "clock", "circuit", "list")
SCRIPTS = (ADMIT, RELEASE, RENEW, SETTLE, REPORT, FORCE, PAUSE, GRANT, HEARTBEAT, LIST_ONE)
