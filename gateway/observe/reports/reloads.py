"""What came of a reload, as events."""

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.observe.log.logger import event

TOLD = {
    "loaded": ("policy.loaded", "Policy loaded", "info"),
    "unchanged": ("policy.unchanged", "Policy unchanged", "info"),
    "rejected": ("policy.rejected", "Policy rejected", "error"),
    "failed": ("policy.failed", "Policy not put in place", "error"),
}
MOST_ERRORS = 20
"""In one line; the answer to who asked has more."""


def tell_reload(outcome: Mapping[str, Any], files: Sequence[str]) -> None:
    """One line for the policies, and one for the settings if there is anything to say.

    outcome  `gateway.reload.outcome.Outcome.as_dict`
    files    of the set in force
    """
    name, message, level = TOLD[outcome["result"]]
    event(name, message, level, **fields_of(outcome), files=list(files))
    settings = outcome.get("settings", {})
    if settings:
        waiting = settings.keys() - {"settings_changed"}
        event("config.loaded", "Settings loaded", "warning" if waiting else "info", **settings)


def fields_of(outcome: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an outcome's event, but for the files."""
    errors = outcome.get("errors", ())
    told = {
        "version": outcome["version"],
        "reload_by": outcome["why"],
        "reload_ms": outcome.get("took_ms", 0),
        "changes": outcome.get("changes"),
        "errors": [_sentence(one) for one in errors[:MOST_ERRORS]],
        "error_count": len(errors),
        "warning_count": outcome.get("warnings"),
        "reason": outcome.get("detail"),
    }
    return {name: value for name, value in told.items() if value or name == "reload_ms"}


def _sentence(error: Mapping[str, Any]) -> str:
    place = f"{error['file']}:{error['line']}:{error['col']}" if error["line"] else str(error["file"])
    hint = f" ({error['hint']})" if error.get("hint") else ""
    return f"{place}: {error['message']}{hint} [{error['code']}]"
