"""Rate-limit fields of an upstream beside ours: what is kept, said anew or left out; read by an independent parser."""

from decimal import Decimal
from typing import Any

import http_sf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.http.their_limits import beside, with_reset_as_ours

OURS = '"tenant";r=9;t=60'

SAID = [
    ("RateLimit", '"day";r=4;t=9, "b";r=1;pk=:YQ==:', '"day";r=4;t=9, "b";r=1;pk=:YQ==:'),
    ("RateLimit", '"tenant";r=4, "up-tenant";r=1', '"up-tenant";r=4, "up-tenant";r=1'),
    ("RateLimit", '"a,\\"b\\"; c";r=4;t=9', '"a,\\"b\\"; c";r=4;t=9'),
    ("RateLimit", "limit=100, remaining=7, reset=5", '"up-100";r=7;t=5'),
    ("RateLimit", "remaining=7", '"up";r=7'),
    ("RateLimit", "limit=100, reset=5", None),
    ("RateLimit", '"a";r=1, soon, "b";r=2', '"a";r=1, "b";r=2'),
    ("RateLimit", "", None),
    ("ratelimit-policy", '100;w=60, 1000;w=3600;comment="an hour"', '"up-100";q=100;w=60, "up-1000";q=1000;w=3600;comment="an hour"'),
    ("RateLimit-Policy", '"day";q=5;w=86400;qu="requests";x=1.5;y;z=?1;n=-2;t=tok/en', '"day";q=5;w=86400;qu="requests";x=1.5;y;z=?1;n=-2;t=tok/en'),
    ("RateLimit-Policy", '"day";q=5;', None),
    ("RateLimit-Policy", '"d\xe9y";q=5', None),
    ("RateLimit-Policy", "(((", None),
    ("X-RateLimit-Limit", "a, b", "a, b"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "told"), SAID)
def test_what_becomes_of_what_they_say(name: str, value: str, told: str | None) -> None:
    fields = beside(((name.encode(), value.encode("latin-1")),), {"tenant"})
    assert fields == (() if told is None else ((name.encode(), told.encode("latin-1")),))


SIGNS = '"\\,;= \t:@-(*_\x7fé'
WORDS = st.sampled_from(
    ["limit", "remaining", "reset", "r", "w", "9", "1.5", '"tenant"', '"day"', ";r=4", ";t=9", "100;w=60", "?1", *SIGNS]
)


@given(st.lists(WORDS, max_size=12).map("".join), st.sampled_from(["RateLimit", "RateLimit-Policy"]))
def test_ours_can_be_read_whatever_they_say(value: str, name: str) -> None:
    fields = beside(((name.encode(), value.encode("latin-1")),), {"tenant"})
    line = b", ".join([value for _, value in fields] + [OURS.encode()])
    members = http_sf.parse(line, tltype="list")
    assert all(isinstance(told, str) for told, _ in members)
    assert [told for told, _ in members].count("tenant") == 1
    assert members[-1] == ("tenant", {"r": 9, "t": 60})


VALUES = (
    st.integers(-(10**15) + 1, 10**15 - 1)
    | st.booleans()
    | st.sampled_from([b"\x00\xff", Decimal("1.5"), Decimal("-12.125"), 'x;y=",', http_sf.Token("*a/b:c")])
)
ITEMS = st.lists(
    st.tuples(st.sampled_from(["day", 'a"b, ', ""]), st.dictionaries(st.sampled_from("rtqwxyz"), VALUES)), min_size=1
)


@given(ITEMS)
def test_a_list_says_the_same_as_before(items: list[Any]) -> None:
    said = http_sf.ser(items).encode()
    ((_, told),) = beside(((b"RateLimit", said),), {"tenant"})
    assert http_sf.parse(told, tltype="list") == http_sf.parse(said, tltype="list")


NOW_S = 1_800_000_000
RESETS = [
    # (what the upstream says, in seconds from now, as epoch seconds)
    ("55", "55", f"{NOW_S + 55}"),
    ("1.5", "2", f"{NOW_S + 2}"),
    (f"{NOW_S + 55}", "55", f"{NOW_S + 55}"),
    (f"{NOW_S + 55}500", "56", f"{NOW_S + 56}"),
    (f"{NOW_S - 3}", "0", f"{NOW_S - 3}"),
    ("2027-01-15T08:01:00Z", "60", f"{NOW_S + 60}"),
    ("1m30s", "90", f"{NOW_S + 90}"),
    ("99999999999999", None, None),
    ("-3", None, None),
    ("soon", None, None),
]


@pytest.mark.parametrize(("said", "wait", "epoch"), RESETS)
def test_a_reset_is_told_in_the_unit_of_ours(said: str, wait: str | None, epoch: str | None) -> None:
    before, after = (b"X-RateLimit-Remaining", b"2"), (b"X-Other", b"1800000055")
    fields = (before, (b"x-ratelimit-reset", said.encode()), after)
    for told, in_epoch in ((wait, False), (epoch, True)):
        kept = () if told is None else ((b"x-ratelimit-reset", told.encode()),)
        assert with_reset_as_ours(fields, NOW_S * 1_000_000, epoch=in_epoch) == (before, *kept, after)


def test_a_point_in_time_is_meant_by_the_upstreams_clock() -> None:
    date = (b"Date", b"Fri, 15 Jan 2027 09:00:00 GMT")  # an hour ahead
    fields = (date, (b"X-RateLimit-Reset", b"%d" % (NOW_S + 3655)))
    assert with_reset_as_ours(fields, NOW_S * 1_000_000, epoch=False) == (date, (b"X-RateLimit-Reset", b"55"))
