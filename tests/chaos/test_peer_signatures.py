"""The reference library of Standard Webhooks reads what we send, and we take what it signs. Needs the extra `test`."""

from datetime import UTC, datetime

import pytest
from multidict import CIMultiDict
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from gateway.core.webhooks.intake import Rejected, Scheme, Source, understand
from gateway.core.webhooks.receivers import Receiver
from gateway.core.webhooks.signatures import secret_bytes
from gateway.modules.delivery.post import signature_fields

SECRETS = ("whsec_plJ3nmyCDGBKInavdOK15jsl", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
KEYS = tuple(secret_bytes(one) for one in SECRETS)
BODIES = ("", "{}", '{"é": "\U0001f600"}', "x" * 100_000, "line\r\nline.1.2")
CRM = Source("crm", Scheme.STANDARD, KEYS, (), id_header="webhook-id", timestamp_header="webhook-timestamp")


def theirs(secret: str, id_: str, body: str) -> CIMultiDict[str]:
    """Header fields as the library makes them."""
    now = datetime.now(UTC)
    at, signature = str(int(now.timestamp())), Webhook(secret).sign(id_, now, body)
    return CIMultiDict({"webhook-id": id_, "webhook-timestamp": at, "webhook-signature": signature})


def taken(fields: CIMultiDict[str], body: str, source: Source = CRM) -> str:
    return understand(source, fields, body.encode(), int(datetime.now(UTC).timestamp() * 1e6)).id


@pytest.mark.parametrize("body", BODIES, ids=len)
@pytest.mark.parametrize("secret", SECRETS)
def test_it_reads_ours(secret: str, body: str) -> None:
    fields = signature_fields(Receiver("ops", "https://a", KEYS), "evt_1", body.encode())
    Webhook(secret).verify(body, fields, json_parse=False)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body + " ", fields)


@pytest.mark.parametrize("body", BODIES, ids=len)
@pytest.mark.parametrize("secret", SECRETS)
def test_we_read_its(secret: str, body: str) -> None:
    fields = theirs(secret, "msg_1", body)
    assert taken(fields, body) == "msg_1"
    with pytest.raises(Rejected, match="not signed"):
        taken(fields, body + " ")


def test_an_id_that_can_be_read_in_two_ways_is_not_taken() -> None:
    """It reads what was signed for `m` as something signed for `m.<timestamp>`; we do not."""
    at = str(int(datetime.now(UTC).timestamp()))
    overheard = theirs(SECRETS[0], "m", at + ".{}")
    other = CIMultiDict({**overheard, "webhook-id": f"m.{overheard['webhook-timestamp']}", "webhook-timestamp": at})
    assert Webhook(SECRETS[0]).verify("{}", dict(other)) == {}
    with pytest.raises(Rejected, match="full stop"):
        taken(other, "{}")
