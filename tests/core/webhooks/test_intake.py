"""Webhooks of others: who they are from, and what is odd about them."""

import hmac
import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from multidict import CIMultiDict

from gateway.core.webhooks.intake import LONGEST_ID, Rejected, Scheme, Source, Understood, pointed, understand
from gateway.core.webhooks.signatures import sign

S_US = 1_000_000
NOW_S = 1_731_705_121
KEY, OLD = b"k" * 24, b"o" * 24
BODY = b'{"data": {"id": "c-1", "n": 7, "list": [{"x": 1}], "real": 1.5, "yes": true}}'
STANDARD = Source("crm", Scheme.STANDARD, (KEY, OLD), (), id_header="webhook-id", timestamp_header="webhook-timestamp")
HMAC = Source("git", Scheme.HMAC, (KEY, OLD), (), header="X-Sig", prefix="sha256=")
BASIC = Source("psa", Scheme.BASIC, (b"ann:secret-1", b"ann:secret-2"), ())


def standard(key: bytes = KEY, at_s: int = NOW_S, id_: str = "m1", body: bytes = BODY, **more: str) -> CIMultiDict[str]:
    fields = {"Webhook-Id": id_, "Webhook-Timestamp": str(at_s), "Webhook-Signature": sign([key], id_, at_s, body)}
    return CIMultiDict({**fields, **{name.replace("_", "-"): text for name, text in more.items()}})


def look(source: Source, fields: Mapping[str, str], body: bytes = BODY) -> Understood:
    return understand(source, fields, body, NOW_S * S_US)


def reason(source: Source, fields: Mapping[str, str], body: bytes = BODY) -> str:
    with pytest.raises(Rejected) as raised:
        look(source, fields, body)
    return raised.value.reason


def hmac_of(key: bytes, body: bytes = BODY) -> bytes:
    return hmac.digest(key, body, "sha256")


@pytest.mark.parametrize("key", [KEY, OLD])
def test_signed_by_any_key_in_force(key: bytes) -> None:
    assert look(STANDARD, standard(key)) == Understood("m1", "", None, "")
    assert look(HMAC, CIMultiDict({"x-sig": "sha256=" + hmac_of(key).hex()})).id
    in_base64 = replace(HMAC, encoding="base64", prefix="")
    assert look(in_base64, CIMultiDict({"X-Sig": b64encode(hmac_of(key)).decode()})).id


@pytest.mark.parametrize(
    ("source", "fields"),
    [
        (STANDARD, {}),
        (STANDARD, standard(b"x" * 24)),
        (STANDARD, standard(body=b"other")),
        (STANDARD, {**standard(), "Webhook-Id": "m2"}),
        (HMAC, {}),
        (HMAC, {"X-Sig": hmac_of(KEY).hex()}),
        (HMAC, {"X-Sig": "sha256=" + hmac_of(b"x").hex()}),
        (HMAC, {"X-Sig": "sha256=\udcff"}),
        (BASIC, {}),
        (BASIC, {"Authorization": "Basic"}),
        (BASIC, {"Authorization": "Basic " + b64encode(b"ann:wrong").decode()}),
        (BASIC, {"Authorization": "Bearer " + b64encode(b"ann:secret-1").decode()}),
    ],
)
def test_nothing_unsigned_gets_in(source: Source, fields: Mapping[str, str]) -> None:
    assert reason(source, CIMultiDict(fields)) == "forged"


@pytest.mark.parametrize(
    ("source", "said"), [(BASIC, "The user or the password is wrong."), (HMAC, "The webhook is not signed as this")]
)
def test_the_answer_says_what_is_wrong(source: Source, said: str) -> None:
    with pytest.raises(Rejected, match=said):
        look(source, CIMultiDict())


@pytest.mark.parametrize("password", ["secret-1", "secret-2"])
def test_user_and_password(password: str) -> None:
    fields = CIMultiDict({"authorization": "bAsIc " + b64encode(f"ann:{password}".encode()).decode()})
    assert look(BASIC, fields).id == look(BASIC, fields).id
    assert look(BASIC, fields).id != look(BASIC, fields, b"another").id


@pytest.mark.parametrize("seconds", [-301, 301])
def test_a_signed_timestamp_is_of_about_now(seconds: int) -> None:
    assert reason(STANDARD, standard(at_s=NOW_S + seconds)) == "bad_timestamp"
    assert look(STANDARD, standard(at_s=NOW_S + seconds // 301 * 300))


@pytest.mark.parametrize("text", ["", "now", "-1", "9" * 12, "٣"])
def test_what_is_no_timestamp(text: str) -> None:
    source = replace(BASIC, timestamp_header="X-At")
    fields = {"authorization": "Basic " + b64encode(b"ann:secret-1").decode(), "X-At": text}
    assert reason(source, CIMultiDict(fields)) == "bad_timestamp"


@pytest.mark.parametrize("id_", ["", "x" * (LONGEST_ID + 1), "a\x7fb"])
def test_what_is_no_id(id_: str) -> None:
    assert reason(STANDARD, standard(id_=id_)) == "no_id"


def test_an_id_cannot_be_taken_for_a_part_of_the_timestamp() -> None:
    """`m.1` at 2 with the body `3` is signed like `m` at 1 with the body `2.3`."""
    digits = f"{NOW_S}.{{}}".encode()
    overheard = standard(body=digits)
    assert look(STANDARD, overheard, digits).id == "m1"
    again = CIMultiDict({**overheard, "Webhook-Id": f"m1.{NOW_S}"})
    assert reason(STANDARD, again, b"{}") == "no_id"


@pytest.mark.parametrize(
    ("said", "id_"), [("a-1_2", "a-1_2"), ("a.b", "a%2Eb"), ("a%2Eb", "a%252Eb"), ("a b", "a%20b"), ("é", "%C3%A9")]
)
def test_an_id_that_others_sign_in_no_way_is_made_fit_to_be_signed(said: str, id_: str) -> None:
    source = replace(HMAC, id_header="X-Id")
    assert look(source, CIMultiDict({"X-Sig": "sha256=" + hmac_of(KEY).hex(), "X-Id": said})).id == id_


def test_late_ones_are_marked() -> None:
    assert look(STANDARD, standard(at_s=NOW_S - 60)).marks == ""
    assert look(STANDARD, standard(at_s=NOW_S - 61)).marks == "l"


@pytest.mark.parametrize(
    ("order_by", "place", "key", "number"),
    [
        ("/data/id", "", "c-1", NOW_S),
        ("/data/id", "/data/n", "c-1", 7),
        ("/data/n", "header:X-N", "7", 12),
        ("header:X-Key", "/data/real", "k", None),
        ("/data/list/0/x", "/data/yes", "1", None),
        ("/data/nothing", "/data/id", "", None),
    ],
)
def test_whose_it_is_and_which_place_it_has(order_by: str, place: str, key: str, number: int | None) -> None:
    source = replace(STANDARD, order_by=order_by, place=place)
    found = look(source, standard(X_Key="k", X_N="12"))
    assert (found.key, found.place) == (key, number)


@pytest.mark.parametrize(("said", "number"), [("9" * 30, 10**30 - 1), ("0" * 29 + "7", 7), ("1" * 31, None)])
def test_places_may_have_thirty_digits(said: str, number: int | None) -> None:
    in_text = replace(STANDARD, order_by="header:X-Key", place="header:X-N")
    assert look(in_text, standard(X_Key="k", X_N=said)).place == number
    body = b'{"n": %d}' % int(said)
    assert look(replace(in_text, place="/n"), standard(body=body, X_Key="k"), body).place == number


def test_without_a_timestamp_nothing_is_known_of_the_place() -> None:
    fields = CIMultiDict({"authorization": "Basic " + b64encode(b"ann:secret-1").decode()})
    assert look(replace(BASIC, order_by="/data/id"), fields)[1:] == ("c-1", None, "")


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b"\xff"])
def test_a_body_that_is_no_json(body: bytes) -> None:
    source = replace(STANDARD, order_by="/x")
    assert reason(source, standard(body=body), body) == "not_json"
    assert look(replace(source, order_by="header:x"), standard(body=body), body).key == ""


@pytest.mark.parametrize(
    ("pointer", "found"),
    [
        ("/a~1b", 1),
        ("/m~0n", 2),
        ("/list/1", "y"),
        ("/list/2", None),
        ("/list/-", None),
        ("/list/x", None),
        ("/a~1b/c", None),
        ("/", 3),
    ],
)
def test_pointers(pointer: str, found: Any) -> None:
    document = {"a/b": 1, "m~n": 2, "list": ["x", "y"], "": 3}
    assert pointed(json.loads(json.dumps(document)), pointer) == found


def test_a_source_never_shows_its_keys() -> None:
    assert "kkkk" not in repr(STANDARD)
