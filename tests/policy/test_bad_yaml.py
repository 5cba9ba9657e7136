"""Files that cannot be read as a policy file at all: exact message and position of each."""

from collections.abc import Callable

import pytest

from tests.policy.whole import BASE, LIMIT, a_limit, an_upstream

BAD = {
    "another version": (
        "version: 2\n" + BASE + "routes: [{name: r, upstream: api}]\n",
        "p.yaml:1:10: the version of the language must be 1 [unknown-version]",
    ),
    "unknown section": (
        BASE + "rotues: []\n",
        "p.yaml:5:1: unknown section 'rotues' (did you mean 'routes'?) [unknown-key]",
    ),
    "a list": (
        "- a\n",
        "p.yaml:1:1: expected a mapping of sections (sections: authentication, keys, limits, breakers, retries, error_classes, upstreams, credentials, routes) [wrong-type]",
    ),
    "a word": (
        "hello\n",
        "p.yaml:1:1: expected a mapping of sections (sections: authentication, keys, limits, breakers, retries, error_classes, upstreams, credentials, routes) [wrong-type]",
    ),
    "an empty file": (
        "",
        "p.yaml:1:1: the file is empty (sections: authentication, keys, limits, breakers, retries, error_classes, upstreams, credentials, routes) [empty]",
    ),
    "only comments": (
        "# nothing\n",
        "p.yaml:1:1: the file is empty (sections: authentication, keys, limits, breakers, retries, error_classes, upstreams, credentials, routes) [empty]",
    ),
    "half-written": (
        a_limit(LIMIT)[:-20],
        "p.yaml:9:1: this is not YAML: did not find expected ',' or '}', while parsing a flow mapping that began on line 8 (close it, or put text with { } in quotes: \"/crm/{id}\") [yaml-syntax]",
    ),
    "a key twice": (
        a_limit("algorithm: rolling_window, limit: 5, limit: 6, window: 1s, key: [tenant]"),
        "p.yaml:6:53: key 'limit' is given twice, on line 6 [duplicate-key]",
    ),
    "a section twice": (
        a_limit(LIMIT) + "keys: {}\n",
        "p.yaml:9:1: key 'keys' is given twice, on lines 1 and 9 [duplicate-key]",
    ),
    "a section twice, and a route that uses what either defines": (
        "limits:\n  first: {algorithm: concurrency, limit: 1, key: [tenant]}\n"
        + a_limit(LIMIT).replace("limits: [", "limits: [first, "),
        "p.yaml:7:1: key 'limits' is given twice, on lines 1 and 7 [duplicate-key]",
    ),
    "an unclosed quote": (
        "keys: 'a\n",
        "p.yaml:2:1: this is not YAML: found unexpected end of stream, while scanning a quoted scalar that began on line 1 [yaml-syntax]",
    ),
    "a tab": (
        "keys:\n\ta: 1\n",
        "p.yaml:2:1: this is not YAML: a tab or a special character stands where a key or value should begin (indent with blanks) [yaml-syntax]",
    ),
    "a special character": (
        "keys:\n  @a: 1\n",
        "p.yaml:2:3: this is not YAML: a tab or a special character stands where a key or value should begin [yaml-syntax]",
    ),
    "a section further in": (
        "keys: {}\nlimits:\n  a: 1\n routes: []\n",
        "p.yaml:4:2: this is not YAML: did not find expected key, while parsing a block mapping that began on line 1 (indented differently from line 1) [yaml-syntax]",
    ),
    "text behind a quoted one": (
        'keys:\n  "a" b: 1\n',
        "p.yaml:2:7: this is not YAML: did not find expected key, while parsing a block mapping that began on line 2 [yaml-syntax]",
    ),
    "the second section further in": (
        "version: 1\n routes: []\n",
        'p.yaml:2:8: this is not YAML: mapping values are not allowed in this context (indent it like the line before; put text with ": " in quotes) [yaml-syntax]',
    ),
    "a Python object": (
        "keys: !!python/object/apply:os.system ['true']\n",
        "p.yaml:1:7: tags like 'tag:yaml.org,2002:python/object/apply:os.system' are not allowed (remove it) [tag]",
        "p.yaml:1:7: keys: expected a mapping of names (name: {…}) [wrong-type]",
    ),
    "any tag": (
        an_upstream("url: !!str http://x"),
        "p.yaml:2:14: tags like 'tag:yaml.org,2002:str' are not allowed (remove it) [tag]",
    ),
    "two documents": (
        "a: 1\n---\nb: 2\n",
        "p.yaml:2:1: a second YAML document begins here (one document a file; remove ---) [many-documents]",
    ),
    "a merge key": (
        "limits:\n  <<: {a: 1}\n",
        "p.yaml:2:3: merge keys (<<) are not supported (write the keys out) [merge-key]",
    ),
    "a list for a key": (
        "? [a]\n: 1\n",
        "p.yaml:1:3: a key must be one word of text [bad-key]",
    ),
    "an alias of nothing": (
        "keys: *k\n",
        "p.yaml:1:7: nothing is anchored as '&k' [unknown-alias]",
    ),
    "an alias inside itself": (
        "keys: &k [*k]\n",
        "p.yaml:1:11: alias '*k' stands inside the value it stands for [alias-cycle]",
    ),
    "a mapping inside itself": (
        "keys: &k {tenant: *k}\n",
        "p.yaml:1:19: alias '*k' stands inside the value it stands for [alias-cycle]",
    ),
    "NUL": (
        "keys:\n  a: \0\n",
        "p.yaml:2:6: control character U+0000 [control-character]",
    ),
    "an escape sequence": (
        "keys:\n  a: \x1b[31m\n",
        "p.yaml:2:6: control character U+001B [control-character]",
    ),
    "a null character, escaped": (
        a_limit(LIMIT).replace("builtin:echo", "builtin:echo\\0"),
        "p.yaml:4:14: control character U+0000 [control-character]",
    ),
    "deep nesting": (
        "keys: " + "[" * 1000 + "\n",
        "p.yaml:1:38: nested more than 32 levels deep [too-deep]",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_each_mistake_is_said_where_it_stands(name: str, errors_of: Callable[..., list[str]]) -> None:
    text, *expected = BAD[name]
    assert errors_of(text) == expected
