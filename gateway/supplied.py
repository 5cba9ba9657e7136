"""Whether there is a token for a call, where the credential for its upstream is one that expires."""

from gateway.call import Call
from gateway.core.access.credentials import Credential
from gateway.core.access.tokens import REFUSED, UNAVAILABLE
from gateway.core.headers import whole_seconds
from gateway.core.problems import CREDENTIALS_REFUSED, CREDENTIALS_UNAVAILABLE, Refusal
from gateway.modules.credentials.renewal import NoToken


async def supplied(call: Call, credential: Credential) -> Refusal | None:
    """Wait until there is a token, if there has to be one; what the caller is told when there is none.

    The reason goes to the log: it may say more of the authorization server than callers should know.
    """
    renewal = call.gateway.supply.of(credential)
    if renewal is None:
        return None
    began = call.gateway.clock()
    try:
        await renewal.ready()
    except NoToken as none:
        return _refusal(call, credential, none)
    finally:
        call.record.queue_s += call.gateway.clock() - began
    return None


def _refusal(call: Call, credential: Credential, none: NoToken) -> Refusal:
    record, wait_s = call.record, max(1, whole_seconds(int(none.wait_s * 1e6)))
    record.error_detail = f"credentials {credential.name}: {none.failure.reason}"
    if none.failure.refused:
        record.error_class = REFUSED
        detail = f"Credentials {credential.name} were refused: somebody has to authorize the gateway again."
        return Refusal(CREDENTIALS_REFUSED, detail, retry_after_s=wait_s)
    record.error_class = UNAVAILABLE
    detail = f"No token could be obtained for credentials {credential.name}."
    return Refusal(CREDENTIALS_UNAVAILABLE, detail, retry_after_s=wait_s)
