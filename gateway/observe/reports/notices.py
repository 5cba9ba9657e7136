"""Events of a worker's parts that say no more than that they happened."""

from collections.abc import Mapping

from gateway.core.access.credentials import Credential
from gateway.core.store_faults import is_lasting
from gateway.observe.log.events import EVENTS
from gateway.observe.log.logger import event
from gateway.observe.metrics.sink import Metrics
from gateway.record import CallRecord


def notice(name: str, level: str, fields: Mapping[str, object]) -> None:
    """An event whose message is the beginning of what `EVENTS` says about it."""
    event(name, EVENTS[name].partition(";")[0].partition(",")[0].rstrip("."), level, **fields)


def store_event(metrics: Metrics, name: str, fields: Mapping[str, object]) -> None:
    """A store went, came back, or lost its data or scripts."""
    metrics.on_store_event(name, fields)
    usual = "warning" if name in ("store.degraded", "store.emptied") else "info"
    notice(name, "error" if is_lasting(str(fields.get("detail"))) else usual, fields)


def authentication_event(name: str, fields: Mapping[str, object]) -> None:
    """The keys of an issuer came, or did not."""
    notice(name, "warning" if name == "authentication.keys_failed" else "info", fields)


TOKEN_LEVELS = {"renewed": "info", "refused": "error", "unavailable": "warning", "unkept": "warning"}


def token_event(metrics: Metrics, credential: Credential, what: str, fields: Mapping[str, object]) -> None:
    """A token of an upstream was renewed here, or it was not. What other workers have renewed they have told."""
    metrics.on_token(credential.upstream, what)
    if what in TOKEN_LEVELS:
        about = {"credentials": credential.name, "upstream": credential.upstream}
        notice(f"credentials.{what}", TOKEN_LEVELS[what], {**about, **fields})


def crashed(crash: BaseException, record: CallRecord) -> None:
    """A call met an internal error."""
    event("call.crashed", "Call met an internal error", "error", request_id=record.request_id, exc_info=crash)
