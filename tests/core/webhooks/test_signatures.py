"""Signatures of Standard Webhooks: the specification's own example, and what must not pass."""

import pytest

from gateway.core.webhooks.signatures import MOST_SIGNATURES, secret_bytes, sign, signed

SECRET = "whsec_plJ3nmyCDGBKInavdOK15jsl"
ID, AT = "msg_loFOjxBNrRLzqYUf", 1731705121
BODY = b'{"event_type":"ping","data":{"success":true}}'
SIGNATURE = "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0="
KEY = secret_bytes(SECRET)
OTHER = bytes(24)


def test_the_example_of_the_specification() -> None:
    assert sign([KEY], ID, AT, BODY) == SIGNATURE
    assert signed([KEY], ID, str(AT), BODY, SIGNATURE)


def test_each_key_signs_and_one_right_signature_is_enough() -> None:
    both = sign([OTHER, KEY], ID, AT, BODY)
    assert both.split(" ")[1] == SIGNATURE
    assert signed([KEY], ID, str(AT), BODY, both)
    assert signed([OTHER, KEY], ID, str(AT), BODY, SIGNATURE)


@pytest.mark.parametrize(
    ("id_", "at", "body", "signature"),
    [
        ("msg_x", str(AT), BODY, SIGNATURE),
        (ID, str(AT + 1), BODY, SIGNATURE),
        (ID, str(AT), BODY + b" ", SIGNATURE),
        (ID, str(AT), BODY, ""),
        (ID, str(AT), BODY, SIGNATURE.removeprefix("v1,")),
        (ID, str(AT), BODY, SIGNATURE.replace("v1,", "v2,")),
        (ID, str(AT), BODY, SIGNATURE[:-2]),
        (ID, str(AT), BODY, "v1,\u00e9\udcff"),
        (ID, str(AT), BODY, "v1,x " * MOST_SIGNATURES + SIGNATURE),
        ("\udcff", str(AT), BODY, SIGNATURE),
    ],
)
def test_anything_else_does_not_pass(id_: str, at: str, body: bytes, signature: str) -> None:
    assert not signed([KEY], id_, at, body, signature)


def test_nothing_passes_without_a_key() -> None:
    assert not signed([], ID, str(AT), BODY, SIGNATURE)


def test_padding_may_be_left_out() -> None:
    assert secret_bytes("whsec_" + "AAAA" * 5 + "AA") == secret_bytes("whsec_" + "AAAA" * 5 + "AA==") == bytes(16)


@pytest.mark.parametrize("text", ["whsec_%%%", f"{SECRET}%%%%", "whsec_é", "whsec_AAAA", "", "whsec_" + "AAAA" * 22])
def test_what_is_no_secret(text: str) -> None:
    with pytest.raises(ValueError, match=r"^it is not whsec_ and base64 of") as raised:
        secret_bytes(text)
    assert text.removeprefix("whsec_") not in str(raised.value) or not text
