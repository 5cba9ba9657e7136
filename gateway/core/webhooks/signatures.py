"""Signatures of webhooks as Standard Webhooks 1.0 has them (github.com/standard-webhooks, spec/standard-webhooks.md).

What is signed is `{id}.{timestamp}.{body}`, by HMAC-SHA256 with the secret's bytes. `webhook-signature` holds one or
more `v1,<base64>` separated by spaces: one for each secret in force, so that secrets can be replaced without a gap.
"""

import binascii
import hmac
from base64 import b64decode, b64encode
from collections.abc import Sequence

PREFIX = "whsec_"
MIN_SECRET_BYTES, MAX_SECRET_BYTES = 16, 64
"""The specification asks for 24 to 64; some senders make shorter ones."""
_FORM = f"{PREFIX} and base64 of 24 to {MAX_SECRET_BYTES} bytes"
_VERSION = "v1,"
MOST_SIGNATURES = 16
"""Looked at in one field; a sender with more keys in force than that has another problem."""


def secret_bytes(text: str) -> bytes:
    """The key that `whsec_<base64>` stands for; the padding may be left out. Raises ValueError, without the secret."""
    encoded = text.removeprefix(PREFIX)
    try:
        key = b64decode((encoded + "=" * (-len(encoded) % 4)).encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise ValueError(f"it is not {_FORM}") from None
    if not MIN_SECRET_BYTES <= len(key) <= MAX_SECRET_BYTES:
        raise ValueError(f"it is not {_FORM}, but of {len(key)}")
    return key


def sign(keys: Sequence[bytes], id_: str, timestamp_s: int, body: bytes) -> str:
    """The value of `webhook-signature`: one signature a key, in their order."""
    return " ".join(_VERSION + b64encode(_digest(key, id_, str(timestamp_s), body)).decode() for key in keys)


def signed(keys: Sequence[bytes], id_: str, timestamp: str, body: bytes, signatures: str) -> bool:
    """Whether any signature of the field is right for any key. How long it takes does not say how wrong one is."""
    given = [one.removeprefix(_VERSION) for one in signatures.split(" ")[:MOST_SIGNATURES] if one.startswith(_VERSION)]
    right = False
    for key in keys:
        expected = b64encode(_digest(key, id_, timestamp, body))
        for one in given:
            right |= hmac.compare_digest(expected, one.encode("utf-8", "replace"))
    return right


def _digest(key: bytes, id_: str, timestamp: str, body: bytes) -> bytes:
    return hmac.digest(key, f"{id_}.{timestamp}.".encode("utf-8", "replace") + body, "sha256")
