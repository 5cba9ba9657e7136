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
    event(
        name,
        message,
        level,
        version=outcome["version"],
        files=list(files),
        reload_by=outcome["why"],
        reload_ms=outcome.get("took_ms", 0),
        changes=outcome.get("changes") or None,
        errors=sentences(outcome) or None,
        error_count=len(outcome.get("errors", ())) or None,
        warning_count=outcome.get("warnings") or None,
        reason=outcome.get("detail") or None,
    )
    settings = outcome.get("settings", {})
    if settings:
        waiting = settings.keys() - {"settings_changed"}
        event("config.loaded", "Settings loaded", "warning" if waiting else "info", **settings)


def sentences(outcome: Mapping[str, Any]) -> list[str]:
    """What was wrong, a line each; of very many the first."""
    return [_sentence(one) for one in outcome.get("errors", ())[:MOST_ERRORS]]


def _sentence(error: Mapping[str, Any]) -> str:
    place = f"{error['file']}:{error['line']}:{error['col']}" if error["line"] else str(error["file"])
    hint = f" ({error['hint']})" if error.get("hint") else ""
    return f"{place}: {error['message']}{hint} [{error['code']}]"
