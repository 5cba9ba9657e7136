"""The most frequent keys, in bounded memory, with a bound on the error."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.watching.heavy_hitters import HeavyHitters

STREAMS = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 50)), max_size=200)


def counted(stream: list[tuple[int, int]], most: int, every: int = 7) -> HeavyHitters[int]:
    heavy = HeavyHitters[int](most)
    for number, (key, count) in enumerate(stream):
        heavy.add(key, count)
        if number % every == 0:
            heavy.prune()
    heavy.prune()
    return heavy


def exact(stream: list[tuple[int, int]]) -> Counter[int]:
    counts: Counter[int] = Counter()
    for key, count in stream:
        counts[key] += count
    return counts


@given(STREAMS, st.integers(1, 10))
def test_never_too_much_and_at_most_so_much_too_little(stream: list[tuple[int, int]], most: int) -> None:
    heavy, truth = counted(stream, most), exact(stream)
    assert len(heavy.counts) <= most
    assert heavy.missed * (most + 1) <= truth.total()
    for key, count in truth.items():
        assert heavy.counts.get(key, 0) <= count <= heavy.counts.get(key, 0) + heavy.missed


@given(STREAMS, STREAMS, st.integers(1, 10))
def test_two_summaries_together(first: list[tuple[int, int]], second: list[tuple[int, int]], most: int) -> None:
    heavy, other, truth = counted(first, most), counted(second, most), exact(first + second)
    heavy.merge(other.counts, other.missed)
    heavy.prune()
    assert heavy.missed * (most + 1) <= truth.total()
    for key, count in truth.items():
        assert heavy.counts.get(key, 0) <= count <= heavy.counts.get(key, 0) + heavy.missed


def test_the_first_come_first() -> None:
    assert counted([(1, 5), (2, 9), (3, 1)], 10).top(2) == [(2, 9), (1, 5)]


def test_so_many_more_of_each() -> None:
    heavy = HeavyHitters[int](2)
    heavy.add(1, 3)
    heavy.add_each([1, 2, 1], 2)
    assert heavy.counts == {1: 7, 2: 2}
