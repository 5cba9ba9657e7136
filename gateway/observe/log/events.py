"""Every event the gateway may report: its name and what it means. `docs/logs.md` lists exactly these."""

from collections.abc import Mapping
from typing import Any

ACCESS = "http.access"
CONNECTION_ERROR = "connection.error"
LIBRARY = "library.message"
DROPPED = "log.dropped"
IN_FORCE = frozenset({"policy.loaded", "policy.unchanged"})
"""Ends of a reload after which calls are judged by what the files say."""


def errors_of(reload: Mapping[str, Any]) -> list[str]:
    """What was wrong, by the event that told of the reload, a line each; nothing, if the files are in force."""
    if reload["event_name"] in IN_FORCE:
        return []
    return reload.get("errors") or [reload.get("reason") or "the log says why"]


EVENTS: Mapping[str, str] = {
    ACCESS: "One call is over. Its fields are described below.",
    CONNECTION_ERROR: "An attempt failed because of its connection. Its fields are described below.",
    "gateway.started": "A worker begins: its sockets, upstreams and store are being opened.",
    "gateway.ready": "A worker serves calls.",
    "gateway.draining": "A worker was told to stop: readiness fails, calls in flight finish.",
    "gateway.stopped": "A worker has ended, with the number of calls that were cut.",
    "upgrade.started": "A successor of the whole gateway starts on the same listening sockets (SIGUSR2).",
    "upgrade.done": "The successor serves; this gateway drains and ends.",
    "upgrade.failed": "The successor did not come up, `reason` says why; this gateway goes on.",
    "worker.started": "The supervisor has forked a worker.",
    "worker.exited": "A worker has ended or died, with its exit code and when its successor follows.",
    "worker.hung": "A worker's event loop has stood still for `silent_s`, longer than `watchdog`: it was killed. "
    "`exception` says where it was.",
    "worker.failed": "A worker died of an internal error, or could not be started; `reason` says why.",
    "worker.replaced": "A worker has ended because its successor serves: a rolling restart.",
    "worker.cut": "A worker did not end in time and was killed.",
    "config.loaded": "The settings in force; after a reload which of them changed, and which wait for new workers or a "
    "restart.",
    "policy.loaded": "A policy set is in force from now on.",
    "policy.rejected": "A policy set has errors; the one before stays in force.",
    "policy.failed": "A worker could not use a policy set, or met an internal error; the one before stays "
    "in force everywhere.",
    "policy.unchanged": "The policy files say what is in force already.",
    "certificates.loaded": "The listeners' certificates, and the files that `tls` and `ca_file` name, were read again; "
    "new handshakes go by them.",
    "certificates.rejected": "One of these files cannot be used; all that was read before stays in use.",
    "authentication.keys_loaded": "The keys of an issuer of tokens are known, for the first time or after a change.",
    "authentication.keys_failed": "The keys of an issuer of tokens could not be fetched; those known stay in use.",
    "credentials.renewed": "A token for an upstream was obtained, the first or a newer one; one worker says it.",
    "credentials.refused": "An authorization server refused the gateway: somebody has to authorize it again.",
    "credentials.unavailable": "An authorization server gave no usable answer; the token in use stays.",
    "credentials.unkept": "A new refresh token is known to one worker only: the store did not take it; offered again.",
    "store.hung": "The embedded store has not answered for `silent_s`, longer than `watchdog`: it was killed, "
    "and starts anew.",
    "runtime.gone": "Somebody has removed the runtime directory, `directory`, or what is in it: `removed`. It is there "
    "again, or `reason` says why it, or some of it, cannot be: until then new workers do not reach the embedded store, "
    "reloads fail and `/metrics` answers 503; SIGUSR2 begins with another one.",
    "runtime.restored": "What could not be put back there, by the last `runtime.gone`, is there again.",
    "store.limited": "The store counts for this process or host only, or fewer workers run than were asked for.",
    "sockets.limited": "So few files may be open that each worker takes fewer callers' sockets than `bounds.sockets`; "
    "`sockets` says how many.",
    "store.degraded": "The store cannot be used; each limit does what its `on_store_error` says.",
    "store.refused": "The store cannot be used, and by now it is known that no waiting mends that: a password, a right "
    "or a command is missing; `detail` says which.",
    "store.recovered": "The store answers again; `down_s` says for how long it did not.",
    "store.emptied": "The store has lost its data; counters, breakers, pauses and overrides are gone (FLUSHALL, a "
    "restart). Each worker says it.",
    "store.evicts": "The store forgets counters when its memory is full, and more calls pass than the limits say; "
    "`maxmemory_policy` should be `noeviction`. The first worker says it.",
    "store.script_reloaded": "The store had lost the decision script; it was sent again.",
    "limit.near": "One caller has used at least 80 % of a limit of five or more. Each worker says it once per caller "
    "and window.",
    "breaker.opened": "A breaker holds calls back; `reason` says why, `next_probe_s` until when. Of each change of a "
    "breaker's state the whole fleet has one line.",
    "breaker.half_open": "A breaker lets one call, or a few, through as probes.",
    "breaker.closed": "A breaker lets calls through again.",
    "upstream.paused": "An upstream asked to be left alone (429, or nothing left); `pause_s` says for how long.",
    "upstream.gave_up": "A call was tried again and failed all the same; `reason` says why it ended there.",
    "alert.error_rate": "An upstream fails too often (by `alerts` in the settings), or no longer does; `state`: "
    "`raised`, `cleared`. Each worker says it of the calls it has seen; what one has raised that ends before, who "
    "follows in its place clears; nobody does when the whole gateway ends, for a new version too.",
    "alert.auth_failures": "An upstream refuses credentials (401, 403) too often, or no longer does; likewise.",
    "connection.online": "A connection is well again. Each change of a connection's state is said once, by one worker.",
    "connection.degraded": "A connection works, but part of what was lately tried failed.",
    "connection.offline": "A connection does not answer, or its breaker is open.",
    "connection.auth_required": "A connection's credentials were refused (401), or no token could be obtained for it.",
    "connection.permission_denied": "A connection's credentials lack a permission (403).",
    "connection.rate_limited": "A connection's upstream asked to be left alone for a while (429).",
    "webhook.delivered": "A webhook was delivered; with level `debug`.",
    "webhook.failed": "A try to deliver a webhook failed; `next_s` says when the next one is, none: it is given up.",
    "webhook.resting": "A receiver of webhooks failed several times in a row and is left alone for `rest_s`.",
    "webhook.dropped": "Events could not be kept for a receiver: `count` of them, because of `reason`.",
    "webhook.volatile": "Webhooks are taken in, and the store ends with the gateway, and what waits in it.",
    "webhook.crashed": "Delivering webhooks met an internal error; it goes on.",
    "webhook.test": "Only sent, not logged: a test whether a receiver gets events.",
    "call.crashed": "A call met an internal error; its caller got a 500 or a cut connection.",
    "background.crashed": "A worker met an internal error beside its calls; it goes on. `work` says at what, "
    "where that is known. Of the same in the same place there is a line in half a minute at most; `count` of them came "
    "since the line before, and with it.",
    "admin.mutation": "Somebody changed something through the admin listener.",
    "admin.denied": "A wrong admin token was shown, `count` times since the line before; the last time by `actor`.",
    "admin.failed": "A request to the admin listener met an internal error.",
    "traces.failed": "The collector of spans does not take them; `count` says of how many calls they are lost so far.",
    "traces.recovered": "The collector of spans takes them again.",
    DROPPED: "Lines could not be written; `count` says how many.",
    "log.kept": "A log file could not be opened anew (SIGUSR1), `reason` says why; lines go to the "
    "old one until it can be.",
    LIBRARY: "A library logged something; `logger` says which.",
}
