"""Somebody who sends webhooks, signed as in Standard Webhooks; and a policy for gateways that are asked nothing else."""

import time
from base64 import b64encode

from gateway.core.webhooks.signatures import sign

KEY = b"a secret of 24 bytes or so"
SECRET = "whsec_" + b64encode(KEY).decode()
ECHO = """
version: 1
upstreams:
  up: {url: "builtin:echo"}
routes:
  - {name: all, upstream: up}
"""


def signed_fields(id_: str, body: bytes, at_s: float = 0, key: bytes = KEY) -> dict[str, str]:
    """What stands in front of the body; `at_s` 0 = now."""
    at = int(at_s or time.time())
    return {"webhook-id": id_, "webhook-timestamp": str(at), "webhook-signature": sign([key], id_, at, body)}
