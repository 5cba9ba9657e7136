"""The arguments and replies of the limits, as Python writes and reads them."""

import struct
from dataclasses import replace
from hashlib import sha1

import pytest

from gateway.core.ask import Ask
from gateway.core.limits import Charge, Decision, Limit, Mode, Verdict
from gateway.store.scripts import limits
from gateway.store.scripts.limits import decode_admit, encode_admit, encode_release, encode_renew
from gateway.store.scripts.sources import ADMIT, RELEASE, RENEW
from tests.contract.test_timelines import bucket, fixed, parallel, rolling

WINDOW = Charge(rolling(quota=500), "tenant-10m:{=acme}", 2)
SLOTS = Charge(parallel(slots=8), "parallel:{=c1}", 3)


def test_an_ask_as_the_script_gets_it() -> None:
    arguments = encode_admit(Ask([WINDOW, SLOTS]), "01JD", prefix="gw:", commit=True)
    assert arguments[:7] == [2, "gw:tenant-10m:{=acme}", "gw:parallel:{=c1}", "admit", 0, "01JD", b""]
    assert arguments[7] == bytes.fromhex("01 01 00000002 000001f4 000023c34600 000000000001 000000000000")
    assert arguments[8] == bytes.fromhex("04 01 00000003 00000008 000003938700 000000000001 000000000000")
    assert encode_admit(Ask([WINDOW]), "", prefix="", commit=False, now_us=7)[:5] == [
        1,
        "tenant-10m:{=acme}",
        "peek",
        7,
        "",
    ]


def test_a_rule_has_the_fields_that_the_script_unpacks() -> None:
    shadow = replace(bucket(burst=20, rate=3, per_us=10), mode=Mode.SHADOW)
    *_, rule = encode_admit(Ask([Charge(shadow, "b", 4)]), "", prefix="", commit=True)
    fields = iter(rule)
    values = [int.from_bytes(bytes(next(fields) for _ in range(size)), "big") for _, size in limits.RULE_FIELDS]
    assert values == [2, 0, 4, 20, 67, 3, 10]
    assert next(fields, None) is None


def test_a_cost_above_the_quota_is_the_quota() -> None:
    assert encode_admit(Ask([Charge(rolling(quota=3), "k", 9)]), "", prefix="", commit=True) == encode_admit(
        Ask([Charge(rolling(quota=3), "k", 3)]), "", prefix="", commit=True
    )
    assert encode_release([Charge(parallel(slots=2), "k", 9)], "x", "") == [1, "k", "release", "x", 2]


def test_release_and_renew_name_only_what_holds_slots() -> None:
    assert encode_release([WINDOW, SLOTS], "01JD", "gw:") == [1, "gw:parallel:{=c1}", "release", "01JD", 3]
    assert encode_renew([WINDOW, SLOTS], "01JD", "gw:") == [1, "gw:parallel:{=c1}", "renew", 0, "01JD", 3, 60_000_000]
    assert encode_release([WINDOW], "01JD", "gw:") is None
    assert encode_renew([WINDOW], "01JD", "gw:") is None


def test_a_reply_becomes_a_decision() -> None:
    ask = Ask([WINDOW, SLOTS])
    expected = Decision(False, (Verdict(True, 4, 60, 5, 0), Verdict(False, 0, 70, 7, 7)), 99)
    assert decode_admit(struct.pack(">Bq?qqqq?qqqq", 0, 99, 1, 4, 60, 5, 0, 0, 0, 70, 7, 7), ask) == expected
    assert ask.seen == expected
    assert decode_admit(struct.pack(">Bq", 1, 99), Ask([])) == Decision(True, (), 99)


def test_a_reply_that_does_not_fit_is_an_error() -> None:
    for reply, says in ((b"", "0 bytes"), (bytes(42), "42 bytes"), (bytes(76), "1 bytes in the reply for 0 guards")):
        with pytest.raises(ValueError, match=says):
            decode_admit(reply, Ask([WINDOW, SLOTS]))


@pytest.mark.parametrize(
    ("charges", "says"),
    [
        ([WINDOW, WINDOW], "charged twice"),
        ([Charge(fixed(), "k", 0)], "cannot cost 0"),
        ([Charge(fixed(quota=2**32), "k", 1)], "account-1m: the limit must be"),
    ],
)
def test_what_cannot_be_asked(charges: list[Charge], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        encode_admit(Ask(charges), "", prefix="", commit=True)


def test_the_rules_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_MOST_RULES", 10)
    many: list[Limit] = [fixed(quota=number) for number in range(1, 100)]
    for limit in many:
        *_, rule = encode_admit(Ask([Charge(limit, "k", 1)]), "", prefix="", commit=True)
        assert rule[6:10] == limit.quota.to_bytes(4, "big")
        assert len(limits._rules) <= 10


def test_the_sha_is_that_of_the_source() -> None:
    for script in (ADMIT, RELEASE, RENEW):
        assert script.sha1_hex == sha1(script.source.encode()).hexdigest()
