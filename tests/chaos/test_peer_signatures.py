"""The reference library of Standard Webhooks reads what we sign, and we read what it signs. Needs the extra `test`."""

from datetime import UTC, datetime

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from gateway.core.signatures import secret_bytes, sign, signed

SECRETS = ("whsec_plJ3nmyCDGBKInavdOK15jsl", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
BODIES = ("", "{}", '{"é": "\U0001f600"}', "x" * 100_000, "line\r\nline.1.2")


@pytest.mark.parametrize("body", BODIES, ids=len)
@pytest.mark.parametrize("secret", SECRETS)
def test_it_reads_ours(secret: str, body: str) -> None:
    now = int(datetime.now(UTC).timestamp())
    ours = sign([secret_bytes(one) for one in SECRETS], "evt_1", now, body.encode())
    fields = {"webhook-id": "evt_1", "webhook-timestamp": str(now), "webhook-signature": ours}
    Webhook(secret).verify(body, fields, json_parse=False)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body + " ", fields)


@pytest.mark.parametrize("body", BODIES, ids=len)
@pytest.mark.parametrize("secret", SECRETS)
def test_we_read_its(secret: str, body: str) -> None:
    now = datetime.now(UTC)
    theirs = Webhook(secret).sign("msg_1", now, body)
    at = str(int(now.timestamp()))
    assert signed([secret_bytes(one) for one in SECRETS], "msg_1", at, body.encode(), theirs)
    assert not signed([bytes(24)], "msg_1", at, body.encode(), theirs)
