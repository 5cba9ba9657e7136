"""What is said to somebody who writes the words of nginx, Kong, Traefik or Envoy."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gateway.policy import words
from gateway.policy.shipped import shipped
from tests.policy.whole import LIMIT, ON, a_key, a_limit, a_route, an_upstream

SAID = {
    a_key("from: ip"): "(did you mean 'client_ip'?)",
    a_key("from: header, name: X, on_missing: deny"): "(did you mean 'reject'?)",
    a_limit(LIMIT + ", mode: dry-run"): "(did you mean 'shadow'?)",
    a_limit(LIMIT + ", on_store_error: fail_open"): "(did you mean 'allow'?)",
    a_limit(LIMIT + ", fault_tolerant: true"): "(did you mean 'on_store_error'?)",
    a_limit("algorithm: rolling_window, requests_per_unit: 5, window: 1s, key: [tenant]"): "(did you mean 'limit'?)",
    a_limit("algorithm: rolling_window, limit: 5, window: minute, key: [tenant]"): "(write 1m)",
    a_limit("algorithm: fixed_window, limit: 5, window: hour, key: [tenant]"): "(write 1h)",
    a_limit("algorithm: rolling_window, limit: 5, window: 2hours, key: [tenant]"): "(write 2h)",
    a_limit("algorithm: rolling_window, limit: 5, window: 1s"): "(such as [tenant]; [] counts everybody together)",
    an_upstream("servers: [{url: 'http://a'}]"): "(did you mean 'url'?)",
    an_upstream("url: 'api.internal:9000/v1'"): "(write http://api.internal:9000/v1 or https://api.internal:9000/v1)",
    an_upstream("url: 'http://a', timeouts: {read: 5s}"): "(did you mean 'first_byte'?)",
    a_route("name: a, " + ON + ", match: {path: '^/a/.*'}"): "(no regular expression: a segment is text, {name}, * or **)",
    a_route("name: a, " + ON + ", retry: {attempts: 3}"): "(the name of one in the section retries)",
    a_route("name: a, upstream: {url: 'http://a'}"): "(the name of one in the section upstreams)",
    "version: '1'\n" + a_route("name: a, " + ON): "(write it without quotes)",
}  # fmt: skip


@pytest.mark.parametrize("text", SAID)
def test_the_word_that_was_meant_is_named(errors_of: Callable[[str], list[str]], text: str) -> None:
    found = errors_of(text)
    assert len(found) == 1, found
    assert SAID[text] in found[0]


def test_only_words_of_the_language_are_offered() -> None:
    known = {*_words(json.loads(shipped("policies/policy.schema.json").read_text()))}
    assert set(words._ELSEWHERE) <= known


def test_what_is_hardly_alike_comes_last() -> None:
    assert words.closest("cache", ["match", "modules"]) == "modules"
    assert words.closest("cache", ["match", "upstream"]) == "match"


def test_what_is_spelled_alike_comes_first() -> None:
    assert words.closest("tokens", ["burst", "token"]) == "token"
    assert words.closest("tokens", ["burst", "rate"]) == "burst"
    assert words.closest("frobnicate", ["burst", "rate"]) == ""


def _words(schema: Any) -> Iterator[str]:
    """Every key and every word that may stand as a value."""
    if isinstance(schema, list):
        for item in schema:
            yield from _words(item)
    elif isinstance(schema, dict):
        yield from schema.get("properties", ())
        yield from (word for word in (*schema.get("enum", ()), schema.get("const")) if isinstance(word, str))
        for inner in schema.values():
            yield from _words(inner)
