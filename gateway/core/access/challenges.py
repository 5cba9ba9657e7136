"""What a caller without (sufficient) credentials is told: 401, 403 or 503, with a challenge for every scheme.

RFC 9110 §11.6.1 (a 401 has at least one challenge), RFC 6750 §3 (Bearer and its error codes). Nothing in them says
which key or token it was, or why exactly it is not accepted: that is in the log.
"""

from collections.abc import Sequence

from gateway.core.access.authentication import Denied, Fault, Scheme
from gateway.core.problems import AUTHENTICATION_UNAVAILABLE, FORBIDDEN, UNAUTHENTICATED, Refusal

RETRY_S = 1


def unauthenticated(denied: Denied, schemes: Sequence[Scheme], realm: str) -> Refusal:
    """The refusal of a caller that is nobody. `realm` needs no quoting: the name of this gateway."""
    if denied.fault is Fault.UNAVAILABLE:
        detail = "The credentials cannot be checked right now."
        return Refusal(AUTHENTICATION_UNAVAILABLE, detail, retry_after_s=RETRY_S)
    missing = denied.fault is Fault.MISSING
    detail = "This route needs credentials." if missing else "The credentials are not accepted."
    error = "" if missing else ', error="invalid_token"'
    return Refusal(UNAUTHENTICATED, detail, extra_fields=_challenges(schemes, realm, error))


def forbidden(require: Sequence[tuple[str, str]], schemes: Sequence[Scheme], realm: str) -> Refusal:
    """The refusal of a caller that is known and lacks what the route requires."""
    scopes = " ".join(value for name, value in require if name in ("scope", "scp"))
    more = f', error="insufficient_scope", scope="{scopes}"' if scopes else ', error="insufficient_scope"'
    detail = "The credentials do not give access to this route."
    return Refusal(FORBIDDEN, detail, extra_fields=_challenges(schemes, realm, more))


def not_vouched(part: str) -> Refusal:
    """The refusal of a caller that is known, but not by the key part that a limit counts by."""
    return Refusal(FORBIDDEN, f"The credentials have no value for the key part {part}.")


def _challenges(schemes: Sequence[Scheme], realm: str, error: str) -> tuple[tuple[str, str], ...]:
    """One field for every way to show credentials. ApiKey is no registered scheme, but a 401 needs one."""
    fields: dict[tuple[str, str], None] = {}
    for scheme in schemes:
        if scheme.header == "authorization":
            challenge = f'Bearer realm="{realm}"{error}'
        else:
            challenge = f'ApiKey realm="{realm}", header="{scheme.header}"'
        fields["WWW-Authenticate", challenge] = None
    return tuple(fields)
