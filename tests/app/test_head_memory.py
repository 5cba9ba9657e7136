"""What is remembered of heads is bounded, whatever crowd of heads comes, and who keeps coming stays remembered."""

import asyncio
from collections.abc import Iterator

import pytest

from gateway.wire.memo import Doorkeeper, Memo
from gateway.wire.request_head import MEMO_FIELDS, RequestHead, RequestHeadParser

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
    memo = parser._blocks
    blocks = [*memo.young.values(), *memo._old.values()]
    return sum(len(block.fields) + len(block.heads) for block in blocks)


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


def test_a_memo_holds_at_most_twice_its_capacity() -> None:
    memo: Memo[int, str] = Memo(10, len)
    for number in range(1000):
        memo.remember(number, "x" * (1 + number % 4))
        assert sum(map(len, [*memo.young.values(), *memo._old.values()])) <= 20
    assert len(memo) > 5


def test_what_grows_later_counts() -> None:
    memo: Memo[str, str] = Memo(10)
    memo.remember("a", "x")
    memo.grow(10)
    assert "a" not in memo.young
    assert memo.recall("a") == "x"
    memo.grow(10)
    memo.grow(10)
    assert memo.recall("a") is None


def test_many_fields_of_many_callers(parser: RequestHeadParser) -> None:
    regular = known(parser)
    fields = b"".join(b"h%x:%x\r\n" % (n, n) for n in range(120))
    for number in range(2_000):
        head = b"GET / HTTP/1.1\r\nHost: a\r\nX-Tenant-Id: t%d\r\n%b\r\n" % (number, fields)
        parser.parse(head)
        parser.parse(head)
        assert parser.parse(REGULAR).block is regular.block
    assert held(parser) <= 2 * MEMO_FIELDS
    assert held(parser) > MEMO_FIELDS / 2


def test_many_lines_of_many_callers(parser: RequestHeadParser) -> None:
    regular = known(parser)
    for number in range(60_000):
        head = b"GET /%d HTTP/1.1\r\nHost: a\r\nX-Tenant-Id: t%d\r\n\r\n" % (number, number // 64)
        parser.parse(head)
        parser.parse(head)
        if not number % 100:
            assert parser.parse(REGULAR).block is regular.block
    assert held(parser) <= 2 * MEMO_FIELDS / 4 * 1.1


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
