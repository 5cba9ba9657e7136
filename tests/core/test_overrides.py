"""Whose numbers apply: looked up, but as if the overrides were tried one by one."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.limits import Algorithm, Limit, Mode, Override, Posture
from tests.fakes.examples import as_many

LIMIT = Limit("l", Algorithm.CONCURRENCY, 1, 1_000_000, ("a",))
PARTS = st.dictionaries(st.sampled_from("abc"), st.sampled_from("xyz"), max_size=3)


def overridden(*matches: dict[str, str]) -> Limit:
    """With override number n having quota n + 2."""
    overrides = [Override(tuple(match.items()), replace(LIMIT, quota=n + 2)) for n, match in enumerate(matches)]
    return replace(LIMIT, overrides=tuple(overrides))


@settings(max_examples=as_many(300))
@given(st.lists(PARTS.filter(bool), max_size=6), PARTS)
def test_the_first_override_whose_parts_all_match_applies(matches: list[dict[str, str]], parts: dict[str, str]) -> None:
    limit = overridden(*matches)
    first = next((n for n, match in enumerate(matches) if match.items() <= parts.items()), None)
    assert limit.for_caller(parts) == (LIMIT if first is None else limit.overrides[first].limit)


def test_without_overrides_it_is_the_limit_itself() -> None:
    assert LIMIT.for_caller({"a": "x"}) is LIMIT


def test_equal_limits_stay_equal_and_usable_as_keys() -> None:
    assert overridden({"a": "x"}) == overridden({"a": "x"})
    assert len({overridden({"a": "x"}), overridden({"a": "x"}), overridden({"a": "y"})}) == 2


def test_a_limit_denies_if_anybody_could_be_refused() -> None:
    denying = replace(LIMIT, on_store_error=Posture.DENY)
    shadow = replace(denying, mode=Mode.SHADOW)
    assert (LIMIT.denies, denying.denies, shadow.denies) == (False, True, False)
    for theirs in (shadow, denying):
        one = replace(shadow, overrides=(Override((("a", "x"),), theirs),))
        assert one.denies == (theirs is denying)
