"""The fields that events have of their own: of which events, as which JSON type, and what each says.

What they share with lines of calls is in `schema`. In ECS and OpenTelemetry they are `gateway.<name>`. `docs/logs.md`
lists exactly these; no name has two types, so that an index can map them.
"""

from collections.abc import Mapping
from typing import NamedTuple


class OwnField(NamedTuple):
    """Names of events, or beginnings of them (`breaker.*`), separated by blanks."""

    type: str
    events: str
    meaning: str


OWN_FIELDS: Mapping[str, OwnField] = {
    "action": OwnField("string", "admin.mutation", "What was done, such as `limit.override` or `breaker.force`."),
    "actor": OwnField("string", "admin.mutation admin.denied", "The address it came from."),
    "after": OwnField("object", "admin.mutation", "How it is now, as the admin API says it."),
    "again_s": OwnField("number", "credentials.*", "When the gateway asks again."),
    "before": OwnField("object", "admin.mutation", "How it was."),
    "calls": OwnField("integer", "breaker.* alert.*", "How many were looked at."),
    "changed": OwnField("object", "config.loaded", "Settings from elsewhere than the file, and from where."),
    "changes": OwnField("object", "policy.loaded", "How many parts were added, changed, removed, got tighter, looser."),
    "credentials": OwnField("string", "credentials.*", "Name of the entry in the policies."),
    "cut_calls": OwnField("integer", "gateway.stopped", "Calls that were not over in time."),
    "denied": OwnField("integer", "alert.*", "Answers 401 and 403 among the calls."),
    "detail": OwnField("string", "store.degraded store.refused", "What happened, in words."),
    "directory": OwnField("string", "runtime.*", "The gateway's private directory."),
    "down_s": OwnField("number", "store.recovered", "For how long it was away."),
    "error_count": OwnField("integer", "policy.rejected", "How many errors there are."),
    "errors": OwnField("array", "policy.rejected", "The first twenty, as file:line:col: message."),
    "exit_code": OwnField("integer", "worker.exited worker.replaced", "Below 0: the signal that killed it."),
    "failed": OwnField("integer", "alert.*", "Failures among the calls."),
    "failure_rate": OwnField("number", "breaker.*", "Share of the calls, 0 to 1."),
    "failures": OwnField("integer", "webhook.resting", "How many in a row."),
    "files": OwnField("array", "policy.*", "The policy files of the set in force."),
    "kind": OwnField("string", "store.degraded store.refused", "timeout, connect, busy, script or other."),
    "let_in_by": OwnField(
        "string",
        "admin.mutation",
        "`token`, `session` (the dashboard's cookie), or `address`: no token is asked for. "
        "Of `dashboard.sign_in` also `read_token`.",
    ),
    "life_s": OwnField("integer", "credentials.renewed", "For how long the token is good."),
    "limit_name": OwnField("string", "limit.near", "The limit that is nearly used up."),
    "listen": OwnField("string", "gateway.started", "Where callers connect."),
    "maxmemory_policy": OwnField("string", "store.evicts", "What the store does when its memory is full."),
    "needs_new_workers": OwnField("array", "config.loaded", "Changed settings that wait for new workers."),
    "needs_restart": OwnField("array", "config.loaded", "Changed settings that wait for a restart."),
    "next_probe_s": OwnField("number", "breaker.opened", "Until a call is let through to see."),
    "next_s": OwnField("number", "webhook.failed", "Until the next try."),
    "over_s": OwnField("number", "alert.*", "The time that calls were counted over."),
    "pause_s": OwnField("number", "upstream.paused", "For how long it is left alone."),
    "policies": OwnField("string", "config.loaded", "Where they are read from."),
    "process_state": OwnField(
        "string", "worker.hung", "What it was at: running, sleeping, disk (waiting for one), stopped (by a signal)."
    ),
    "reason": OwnField("string", "many", "Why, in a word or a sentence."),
    "receiver": OwnField("string", "webhook.*", "Its name."),
    "reload_by": OwnField("string", "policy.*", "watch, admin or signal."),
    "reload_ms": OwnField("integer", "policy.*", "How long it took."),
    "removed": OwnField("array", "runtime.*", "The first twenty names that were gone."),
    "rest_s": OwnField("number", "webhook.resting", "For how long it is left alone."),
    "restart_in_s": OwnField("number", "worker.exited worker.failed", "Until its successor starts, or the next try."),
    "settings_changed": OwnField("array", "config.loaded", "Settings whose change is in force."),
    "silent_s": OwnField("number", "worker.hung store.hung", "For how long it had shown no sign of life."),
    "slow_rate": OwnField("number", "breaker.*", "Share of slow calls, 0 to 1."),
    "sockets": OwnField("integer", "sockets.limited", "Callers' sockets that each worker takes."),
    "sockets_wanted": OwnField("integer", "sockets.limited", "`bounds.sockets`."),
    "state": OwnField("string", "alert.*", "raised or cleared."),
    "store_url": OwnField("string", "config.loaded", "Without user and password."),
    "target": OwnField("string", "admin.mutation admin.denied", "Path of the admin API."),
    "took_ms": OwnField("number", "webhook.*", "How long the try took."),
    "version": OwnField("string", "policy.*", "Policy set in force after it."),
    "warning_count": OwnField("integer", "policy.*", "How many warnings there are."),
    "webhook_id": OwnField("string", "webhook.*", "Which one; the same at every try."),
    "work": OwnField("string", "background.crashed", "What it was at."),
    "workers": OwnField("integer", "config.loaded", "How many there are."),
}
