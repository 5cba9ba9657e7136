"""Which settings take effect while the gateway serves, which with new workers, and which when it is started again."""

from dataclasses import replace
from typing import NamedTuple

from gateway.settings import Bounds, Settings, leaves

AT_ONCE = ("policies", "trusted_proxies", "headers", "bounds", "drain", "watchdog", "logging.level")
"""Keys and sections that a reload puts in place."""
FIXED_AT_START = ("listen", "admin", "workers", "store")
"""What sockets, processes and counters hang on: only a restart changes it. Everything else comes with new workers."""
_OF_A_WORKER = ("bounds.sockets", "bounds.response_header_bytes", "bounds.header_count")
_BOUNDS = tuple(key.partition(".")[2] for key in _OF_A_WORKER)


class Changes(NamedTuple):
    """What is different, by dotted key, and when it takes effect."""

    at_once: tuple[str, ...] = ()
    new_workers: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, list[str]]:
        """For JSON; what is empty is left out."""
        told = {"settings_changed": self.at_once, "needs_new_workers": self.new_workers, "needs_restart": self.restart}
        return {name: list(keys) for name, keys in told.items() if keys}


def changes(old: Settings, new: Settings, began: Settings) -> Changes:
    """What a reload makes of settings that were read again.

    began  as they were read at the start: what is fixed then may be in force in another form, with a port of its own
    """
    kinds: dict[str, list[str]] = {"at_once": [], "new_workers": [], "restart": []}
    for key in _different(old, new):
        if when(key) != "restart":
            kinds[when(key)].append(key)
    kinds["restart"] = [key for key in _different(began, new) if when(key) == "restart"]
    return Changes(**{kind: tuple(keys) for kind, keys in kinds.items()})


def in_force(old: Settings, new: Settings) -> Settings:
    """What settings become that were in force, in a worker or for one that is to be forked, when `new` were read."""
    return replace(
        old,
        policies=new.policies,
        trusted_proxies=new.trusted_proxies,
        headers=new.headers,
        bounds=_bounds(old.bounds, new.bounds),
        drain=new.drain,
        watchdog_us=new.watchdog_us,
        logging=replace(old.logging, level=new.logging.level),
        sources=new.sources,
    )


def for_new_workers(old: Settings, fresh: Settings) -> Settings:
    """Settings of workers that are forked beside sockets and a store that are as they were."""
    return replace(fresh, listen=old.listen, admin=old.admin, workers=old.workers, store=old.store)


def when(key: str) -> str:
    """A change of this key takes effect: a field of `Changes`."""
    section = key.partition(".")[0]
    if section in FIXED_AT_START:
        return "restart"
    at_once = (section in AT_ONCE or key in AT_ONCE) and key not in _OF_A_WORKER
    return "at_once" if at_once else "new_workers"


def _bounds(old: Bounds, new: Bounds) -> Bounds:
    return replace(new, **{name: getattr(old, name) for name in _BOUNDS})


def _different(old: Settings, new: Settings) -> list[str]:
    """Dotted keys, named as in the file."""
    before = dict(leaves(old))
    return [name.removesuffix("_us") for name, value in leaves(new) if value != before[name]]
