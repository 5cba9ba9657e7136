"""What is remembered of heads is bounded, whatever crowd of heads comes, and who keeps coming stays remembered."""

import asyncio
import random
from collections.abc import Iterator

import pytest

from gateway.wire.field_block import MOST_KEPT
from gateway.wire.memo import Doorkeeper, Memo
from gateway.wire.request_head import MEMO_FIELDS, MOST_PEERS, RequestHead, RequestHeadParser

REGULAR = b"GET /regular HTTP/1.1\r\nHost: a\r\nX-Tenant-Id: acme\r\n\r\n"


@pytest.fixture
def parser() -> Iterator[RequestHeadParser]:
    loop = asyncio.new_event_loop()
    yield RequestHeadParser(loop)
    loop.close()


def known(parser: RequestHeadParser) -> RequestHead:
    """The head of somebody who keeps coming: remembered from the second time on."""
    parser.parse(REGULAR)
    parser.parse(REGULAR)
    return parser.parse(REGULAR)


def held(parser: RequestHeadParser) -> int:
    """Fields and lines that are remembered now."""
    return sum(len(block.fields) + len(block.heads) for block in parser._blocks.values())


def test_fields_that_were_let_go_are_read_again_and_then_stay(parser: RequestHeadParser) -> None:
    head = known(parser)
    before = head.fields
    head.block.let_go()
    head.block.let_go()  # somebody else has seen all, too
    assert parser.parse(REGULAR).fields == before
    assert parser.parse(REGULAR).headers["x-tenant-id"] == "acme"
    fields = parser.parse(REGULAR).fields
    head.block.let_go()
    assert parser.parse(REGULAR).fields is fields


def test_fields_of_heads_that_are_not_remembered_stay(parser: RequestHeadParser) -> None:
    head = parser.parse(REGULAR)
    fields = head.fields
    head.block.let_go()
    assert head.fields is fields


def test_a_head_that_says_something_else_leaves_the_one_that_is_remembered(parser: RequestHeadParser) -> None:
    head = known(parser)
    other = head.saying(((b"Host", b"b"),))
    other.block.let_go()
    assert (other.fields, other.target) == (((b"Host", b"b"),), head.target)
    assert parser.parse(REGULAR).fields[1] == (b"X-Tenant-Id", b"acme")


def test_a_memo_holds_at_most_its_capacity_and_uses_it() -> None:
    memo: Memo[int, str] = Memo(20, len)
    for number in range(1000):
        memo.remember(number, "x" * (1 + number % 4))
        assert sum(map(len, memo.values())) <= 20
    assert sum(map(len, memo.values())) > 16


def test_nothing_is_given_up_while_there_is_room_for_all() -> None:
    given_up: list[int] = []
    memo: Memo[int, int] = Memo(100, drop=given_up.append)
    for number in random.Random(1).choices(range(100), k=10_000):
        if memo.young.get(number) is None and memo.recall(number) is None:
            memo.remember(number, number)
    assert (len(memo), given_up) == (100, [])


def test_who_keeps_coming_is_hardly_ever_forgotten_in_a_crowd() -> None:
    memo: Memo[str, str] = Memo(100)
    missed = 0
    for number in range(10_000):
        for regular in ("a", "b", "c"):
            if memo.young.get(regular) is None and memo.recall(regular) is None:
                memo.remember(regular, regular)
                missed += 1
        memo.remember(f"once-{number}", "")
    assert missed == 3


def test_room_is_made_one_by_one() -> None:
    given_up: list[int] = []
    memo: Memo[int, int] = Memo(1000, drop=given_up.append)
    for number in range(5000):
        before = len(given_up)
        memo.remember(number, number)
        assert len(given_up) - before <= 1
    assert len(memo) + len(given_up) == 5000


def test_what_is_remembered_in_place_of_something_weighs_once() -> None:
    memo: Memo[str, str] = Memo(10, len)
    for _ in range(100):
        memo.remember("a", "xxx")
        memo.remember("b", "xxxxxx")
    assert sorted(memo.values()) == ["xxx", "xxxxxx"]


def test_what_grows_later_counts() -> None:
    given_up: list[str] = []
    memo: Memo[str, str] = Memo(10, drop=given_up.append)
    for name in "abcd":
        memo.remember(name, name)
    memo.grow(7)
    assert given_up == ["d"]
    memo.grow(-1)
    memo.remember("e", "e")
    assert given_up == ["d"]


def test_what_is_too_heavy_for_a_memo_ends_with_an_empty_one() -> None:
    memo: Memo[str, str] = Memo(10)
    memo.remember("a", "x")
    memo.grow(50)
    assert len(memo) == 0


def test_what_stages_remember_of_a_head_weighs_as_long_as_it_is_remembered(parser: RequestHeadParser) -> None:
    known(parser)
    head = parser.parse(REGULAR)
    block, before = head.block, head.block.weight
    for number in range(MOST_KEPT + 1):
        block.keep((number,), "")
        block.keep((number,), "other")
        assert len(block.remembered) <= MOST_KEPT
    remembered = 2 * len(block.remembered)
    assert block.weight == before + remembered
    for number in range(MOST_PEERS + 1):
        head.keep(f"peer-{number}", "")
        head.keep(f"peer-{number}", "other")
        assert len(head.remembered or ()) <= MOST_PEERS
    assert block.weight == parser._blocks._weight == before + remembered + len(head.remembered or ())


def test_long_fields_weigh_more(parser: RequestHeadParser) -> None:
    for number in range(20_000):
        head = b"GET / HTTP/1.1\r\nHost: a\r\nX-Tenant-Id: t%d\r\nX-Long: %b\r\n\r\n" % (number, b"x" * 1900)
        parser.parse(head)
        parser.parse(head)
    assert sum(len(block.text) for block in parser._blocks.values()) < 25_000_000


def test_many_fields_of_many_callers(parser: RequestHeadParser) -> None:
    regular = known(parser)
    fields = b"".join(b"h%x:%x\r\n" % (n, n) for n in range(120))
    for number in range(2_000):
        head = b"GET / HTTP/1.1\r\nHost: a\r\nX-Tenant-Id: t%d\r\n%b\r\n" % (number, fields)
        parser.parse(head)
        parser.parse(head)
        assert parser.parse(REGULAR).block is regular.block
    assert MEMO_FIELDS * 0.9 < held(parser) <= MEMO_FIELDS


def test_many_lines_of_many_callers(parser: RequestHeadParser) -> None:
    regular = known(parser)
    for number in range(60_000):
        head = b"GET /%d HTTP/1.1\r\nHost: a\r\nX-Tenant-Id: t%d\r\n\r\n" % (number, number // 64)
        parser.parse(head)
        parser.parse(head)
        if not number % 100:
            assert parser.parse(REGULAR).block is regular.block
    assert held(parser) <= MEMO_FIELDS / 4 * 1.1
    weight = sum(block.weight for block in parser._blocks.values())
    assert MEMO_FIELDS * 0.9 < weight == parser._blocks._weight <= MEMO_FIELDS


def test_lines_that_come_once_are_not_remembered(parser: RequestHeadParser) -> None:
    """Else the number of something in each of them would push out all other callers."""
    block = known(parser).block
    for number in range(1_000):
        parser.parse(b"GET /?call=%d HTTP/1.1\r\nHost: a\r\nX-Tenant-Id: acme\r\n\r\n" % number)
    assert len(block.heads) < 20
    again = b"GET /again HTTP/1.1\r\nHost: a\r\nX-Tenant-Id: acme\r\n\r\n"
    first, second, third = (parser.parse(again) for _ in range(3))
    assert first.remembered is None
    assert second is third is block.heads[b"GET /again "]


def test_a_doorkeeper_knows_most_of_what_came_lately() -> None:
    doorkeeper = Doorkeeper()
    assert not doorkeeper.knows("a")
    assert doorkeeper.knows("a")
    strangers = sum(not doorkeeper.knows(f"once-{number}") for number in range(10_000))
    assert strangers > 9_950  # some may be taken for others
    assert sum(doorkeeper.knows(f"once-{number}") for number in range(10_000)) > 9_500


def test_what_a_doorkeeper_knows_is_bounded() -> None:
    doorkeeper = Doorkeeper()
    for number in range(300_000):
        doorkeeper.knows(f"once-{number}")
    assert doorkeeper._seen.count(0) >= len(doorkeeper._seen) * 3 / 4


def test_strangers_are_hardly_ever_taken_for_somebody_who_came_before() -> None:
    door = Doorkeeper()
    assert sum(door.knows(b"GET /%d " % number) for number in range(200_000)) < 200
