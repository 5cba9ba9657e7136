"""Key parts and limits that cannot be meant: exact message and position of each."""

from collections.abc import Callable

import pytest

from tests.policy.whole import BASE, LIMIT, ON, ROUTE, a_key, a_limit, a_route

BAD = {
    "unknown key in a limit": (
        a_limit(LIMIT + ", limt: 5"),
        "p.yaml:6:80: unknown key 'limt' (did you mean 'limit'?) [unknown-key]",
    ),
    "missing key": (
        a_limit("algorithm: rolling_window, limit: 5, key: [tenant]"),
        "p.yaml:6:3: key 'window' is missing [missing-key]",
    ),
    "no algorithm": (
        a_limit("limit: 5"),
        "p.yaml:6:3: key 'algorithm' is missing (one of rolling_window, fixed_window, token_bucket, concurrency) [missing-key]",
    ),
    "algorithm spelled wrong": (
        a_limit("algoritm: rolling_window, limit: 5"),
        "p.yaml:6:3: key 'algorithm' is missing (one of rolling_window, fixed_window, token_bucket, concurrency) [missing-key]",
        "p.yaml:6:16: unknown key 'algoritm' (did you mean 'algorithm'?) [unknown-key]",
    ),
    "unknown algorithm": (
        a_limit("algorithm: roling_window, limit: five, window: 1s, key: [tenant]"),
        "p.yaml:6:27: expected one of rolling_window, fixed_window, token_bucket, concurrency, got the text 'roling_window' (did you mean 'rolling_window'?) [unknown-value]",
        "p.yaml:6:49: expected a whole number, got the text 'five' [wrong-type]",
    ),
    "a number in quotes": (
        a_limit("algorithm: rolling_window, limit: '500', window: 1s, key: [tenant]"),
        "p.yaml:6:50: expected a whole number, got the text '500' (write it without quotes) [wrong-type]",
    ),
    "an octal number": (
        a_limit("algorithm: rolling_window, limit: 010, window: 1s, key: [tenant]"),
        "p.yaml:6:50: expected a whole number, got the text '010' (plain decimal digits only, like 500) [wrong-type]",
    ),
    "a hexadecimal number": (
        a_limit("algorithm: rolling_window, limit: 0x10, window: 1s, key: [tenant]"),
        "p.yaml:6:50: expected a whole number, got the text '0x10' (plain decimal digits only, like 500) [wrong-type]",
    ),
    "a fraction": (
        a_limit("algorithm: rolling_window, limit: 1.5, window: 1s, key: [tenant]"),
        "p.yaml:6:50: expected a whole number, got the number 1.5 [wrong-type]",
    ),
    "not a number": (
        a_limit("algorithm: rolling_window, limit: .nan, window: 1s, key: [tenant]"),
        "p.yaml:6:50: expected a whole number, got the text '.nan' [wrong-type]",
    ),
    "a limit of zero": (
        a_limit("algorithm: rolling_window, limit: 0, window: 1s, key: [tenant]"),
        "p.yaml:6:50: must be at least 1, got 0 [out-of-range]",
    ),
    "a negative limit": (
        a_limit("algorithm: rolling_window, limit: -5, window: 1s, key: [tenant]"),
        "p.yaml:6:50: must be at least 1, got -5 [out-of-range]",
    ),
    "true for a number": (
        a_limit("algorithm: rolling_window, limit: true, window: 1s, key: [tenant]"),
        "p.yaml:6:50: expected a whole number, got true [wrong-type]",
    ),
    "twenty digits": (
        a_limit("algorithm: rolling_window, limit: 99999999999999999999, window: 1s, key: [tenant]"),
        "p.yaml:6:50: expected a whole number, got the text '99999999999999999999' (at most 18 digits) [wrong-type]",
    ),
    "more units than fit": (
        a_limit("algorithm: fixed_window, limit: 5000000000, window: 1s, key: [tenant]"),
        "p.yaml:6:3: limit 'per-tenant' cannot be counted: the limit must be between 1 and 4294967295 [out-of-range]",
    ),
    "unknown duration unit": (
        a_limit("algorithm: rolling_window, limit: 5, window: 10min, key: [tenant]"),
        "p.yaml:6:61: unknown unit 'min' in '10min' (write 10m) [bad-duration]",
    ),
    "a duration without unit": (
        a_limit("algorithm: rolling_window, limit: 5, window: '600', key: [tenant]"),
        "p.yaml:6:61: '600' has no unit (units: ms, s, m, h, d) [bad-duration]",
    ),
    "a number for a duration": (
        a_limit("algorithm: rolling_window, limit: 5, window: 600, key: [tenant]"),
        "p.yaml:6:61: expected a duration like 30s or 10m, got the number 600 [wrong-type]",
    ),
    "minutes and seconds": (
        a_limit("algorithm: rolling_window, limit: 5, window: 1:30, key: [tenant]"),
        "p.yaml:6:61: '1:30' is not a duration (write it like 30s or 10m) [bad-duration]",
    ),
    "a fraction of a second": (
        a_limit("algorithm: rolling_window, limit: 5, window: 1.5s, key: [tenant]"),
        "p.yaml:6:61: '1.5s' is not a duration (write 1500ms) [bad-duration]",
    ),
    "a window of zero": (
        a_limit("algorithm: rolling_window, limit: 5, window: 0s, key: [tenant]"),
        "p.yaml:6:61: a duration must be more than 0 and at most 800d, got '0s' [out-of-range]",
    ),
    "a window of years": (
        a_limit("algorithm: rolling_window, limit: 5, window: 900d, key: [tenant]"),
        "p.yaml:6:61: a duration must be more than 0 and at most 800d, got '900d' [out-of-range]",
    ),
    "a month of a rolling window": (
        a_limit("algorithm: rolling_window, limit: 5, window: month, key: [tenant]"),
        "p.yaml:6:61: 'month' is not a duration (only a fixed_window counts by the calendar) [bad-duration]",
    ),
    "a month with precision": (
        a_limit("algorithm: fixed_window, limit: 5, window: month, precision: 60, key: [tenant]"),
        "p.yaml:6:66: unknown key 'precision' (fixed_window has limit, window, timezone) [unknown-key]",
    ),
    "a unit that is none": (
        a_limit("algorithm: fixed_window, limit: 5, window: moth, key: [tenant]"),
        "p.yaml:6:59: 'moth' is not a window (did you mean 'month'?) [bad-duration]",
    ),
    "a unit that is not counted by": (
        a_limit("algorithm: fixed_window, limit: 5, window: fortnight, key: [tenant]"),
        "p.yaml:6:59: 'fortnight' is not a window (write it like 10m, or day, week, month) [bad-duration]",
    ),
    "a zone in small letters": (
        a_limit("algorithm: fixed_window, limit: 5, window: day, timezone: europe/berlin, key: [tenant]"),
        "p.yaml:6:74: 'europe/berlin' is not a time zone that this host knows (did you mean 'Europe/Berlin'?) [unknown-timezone]",
    ),
    "a city for a zone": (
        a_limit("algorithm: fixed_window, limit: 5, window: day, timezone: New York, key: [tenant]"),
        "p.yaml:6:74: 'New York' is not a time zone that this host knows (did you mean 'America/New_York'?) [unknown-timezone]",
    ),
    "an unknown zone": (
        a_limit("algorithm: fixed_window, limit: 5, window: day, timezone: Mars/Olympus_Mons, key: [tenant]"),
        "p.yaml:6:74: 'Mars/Olympus_Mons' is not a time zone that this host knows (names of the IANA time zone database, like Europe/Berlin or UTC) [unknown-timezone]",
    ),
    "a file for a zone": (
        a_limit("algorithm: fixed_window, limit: 5, window: day, timezone: ../../etc/passwd, key: [tenant]"),
        "p.yaml:6:74: '../../etc/passwd' is not a time zone that this host knows (names of the IANA time zone database, like Europe/Berlin or UTC) [unknown-timezone]",
    ),
    "a folder for a zone": (
        a_limit("algorithm: fixed_window, limit: 5, window: day, timezone: Mexico, key: [tenant]"),
        "p.yaml:6:74: 'Mexico' is not a time zone that this host knows (names of the IANA time zone database, like Europe/Berlin or UTC) [unknown-timezone]",
    ),
    "a number for a zone": (
        a_limit("algorithm: fixed_window, limit: 5, window: day, timezone: 2, key: [tenant]"),
        "p.yaml:6:74: expected a time zone like Europe/Berlin, got the number 2 [wrong-type]",
    ),
    "a zone for hours": (
        a_limit("algorithm: fixed_window, limit: 5, window: 24h, timezone: Europe/Berlin, key: [tenant]"),
        "p.yaml:6:74: a time zone is for day, week or month only (`window: 1d` begins at midnight UTC, `window: day` at local midnight) [useless-timezone]",
    ),
    "a zone for hours in an override": (
        a_limit(
            "algorithm: fixed_window, limit: 5, window: 24h, key: [tenant], overrides: [{match: {tenant: a}, timezone: UTC}]"
        ),
        "p.yaml:6:122: a time zone is for day, week or month only (`window: 1d` begins at midnight UTC, `window: day` at local midnight) [useless-timezone]",
    ),
    "a zone for another algorithm": (
        a_limit("algorithm: rolling_window, limit: 5, window: 24h, timezone: UTC, key: [tenant]"),
        "p.yaml:6:66: unknown key 'timezone' (rolling_window has limit, window, precision) [unknown-key]",
    ),
    "a month in the variant of a rolling window": (
        a_limit(LIMIT + ", shadow: {window: month}"),
        "p.yaml:6:97: 'month' is not a duration (only a fixed_window counts by the calendar) [bad-duration]",
    ),
    "a negative window": (
        a_limit("algorithm: rolling_window, limit: 5, window: -5s, key: [tenant]"),
        "p.yaml:6:61: '-5s' is not a duration (write it like 30s or 10m) [bad-duration]",
    ),
    "a window left empty": (
        a_limit("algorithm: rolling_window, limit: 5, window: , key: [tenant]"),
        "p.yaml:6:61: expected a duration like 30s or 10m, got nothing [wrong-type]",
    ),
    "text for a list": (
        a_limit("algorithm: rolling_window, limit: 5, window: 1s, key: tenant"),
        "p.yaml:6:70: expected a list, got the text 'tenant' (write [tenant]) [wrong-type]",
    ),
    "an undefined key part": (
        a_limit("algorithm: rolling_window, limit: 5, window: 1s, key: [tenat]"),
        "p.yaml:6:71: key part 'tenat' is not defined (did you mean 'tenant'?) [undefined-name]",
    ),
    "a key part twice": (
        a_limit("algorithm: rolling_window, limit: 5, window: 1s, key: [tenant, tenant]"),
        "p.yaml:6:79: key part 'tenant' stands twice in this key [duplicate-name]",
    ),
    "unknown mode": (
        a_limit(LIMIT + ", mode: shadwo"),
        "p.yaml:6:86: expected one of enforce, shadow, off, got the text 'shadwo' (did you mean 'shadow'?) [unknown-value]",
    ),
    "false for off": (
        a_limit(LIMIT + ", mode: false"),
        "p.yaml:6:86: expected one of enforce, shadow, off, got false [unknown-value]",
    ),
    "a log too long": (
        a_limit("algorithm: rolling_window, limit: 2000000, window: 1d, key: [tenant]"),
        "p.yaml:6:3: limit 'per-tenant' cannot be counted: more than 1000000 calls a window need `precision: N` (at most 999999) [out-of-range]",
    ),
    "a bucket that doubles cannot count": (
        a_limit("algorithm: token_bucket, rate: 100003, per: 7d, burst: 100000, key: [tenant]"),
        "p.yaml:6:3: limit 'per-tenant' cannot be counted: burst and rate are too large to count exactly: choose rounder numbers or a smaller `per` [out-of-range]",
    ),
    "a bucket that takes years to fill": (
        a_limit("algorithm: token_bucket, rate: 1, per: 7d, burst: 1000, key: [tenant]"),
        "p.yaml:6:3: limit 'per-tenant' cannot be counted: an empty bucket would take more than 800 days to fill [out-of-range]",
    ),
    "a lease that cannot be renewed in time": (
        a_limit("algorithm: concurrency, limit: 1, lease: 999ms, key: [tenant]"),
        "p.yaml:6:3: limit 'per-tenant' cannot be counted: a lease has to last 1s or longer, so that it can be renewed in time [out-of-range]",
    ),
    "precision of zero": (
        a_limit(LIMIT + ", precision: 0"),
        "p.yaml:6:91: must be at least 1, got 0 [out-of-range]",
    ),
    "an override's foreign number": (
        a_limit(LIMIT + ", overrides: [{match: {tenant: a}, rate: 5}]"),
        "p.yaml:6:113: unknown key 'rate' (known: limit, match, mode, precision, window) [unknown-key]",
    ),
    "an override's undefined key part": (
        a_limit(LIMIT + ", overrides: [{match: {tenat: a}, limit: 5}]"),
        "p.yaml:6:101: key part 'tenat' is not defined (did you mean 'tenant'?) [undefined-name]",
    ),
    "an override that changes nothing": (
        a_limit(LIMIT + ", overrides: [{match: {tenant: a}}]"),
        "p.yaml:6:92: this override changes nothing (give it a mode or numbers) [empty]",
    ),
    "an override for nobody in particular": (
        a_limit(LIMIT + ", overrides: [{match: {}, limit: 5}]"),
        "p.yaml:6:100: must not be empty [empty]",
    ),
    "a number for a tenant": (
        a_limit(LIMIT + ", overrides: [{match: {tenant: 42}, limit: 5}]"),
        "p.yaml:6:109: expected text, got the number 42 (put it in quotes) [wrong-type]",
    ),
    "an empty tenant": (
        a_limit(LIMIT + ", overrides: [{match: {tenant: ''}, limit: 5}]"),
        "p.yaml:6:109: an empty value never matches: it counts as missing [empty]",
    ),
    "a variant without its numbers": (
        a_limit(LIMIT + ", shadow: {algorithm: token_bucket, rate: 5}"),
        "p.yaml:6:80: key 'per' is missing [missing-key]",
    ),
    "a variant's foreign number": (
        a_limit(LIMIT + ", shadow: {burst: 5}"),
        "p.yaml:6:89: unknown key 'burst' (rolling_window has limit, window, precision) [unknown-key]",
    ),
    "limits in a list": (
        BASE + "limits: [a]\n" + ROUTE,
        "p.yaml:5:9: limits: expected a mapping of names (name: {…}) [wrong-type]",
    ),
    "a limit that is a number": (
        BASE + "limits:\n  per-tenant: 5\n" + ROUTE,
        "p.yaml:6:15: expected a mapping, got the number 5 [wrong-type]",
    ),
    "a name with a blank": (
        a_limit(LIMIT).replace("  per-tenant:", "  per tenant:"),
        "p.yaml:6:3: 'per tenant' is not a name for a limit (letters, digits and . _ - only, at most 64) [bad-name]",
        "p.yaml:8:41: limit 'per-tenant' is not defined (did you mean 'per tenant'?) [undefined-name]",
    ),
    "a reserved name": (
        a_limit(LIMIT).replace("per-tenant", "a.shadow"),
        "p.yaml:6:3: names that end in .shadow belong to the variants of limits [bad-name]",
    ),
    "a name of another's limit": (
        a_limit(LIMIT).replace("per-tenant", "intake.shop"),
        "p.yaml:6:3: names that begin with intake. belong to the limits of webhooks' sources [bad-name]",
    ),
    "unknown source of a key part": (
        a_key("from: hedaer, name: X, on_missing: skip"),
        "p.yaml:2:18: expected one of header, path, query, client_ip, api_key, api_key_entry, jwt, got the text 'hedaer' (did you mean 'header'?) [unknown-value]",
    ),
    "a source that does not exist yet": (
        a_key("from: jwts, claim: sub, on_missing: skip"),
        "p.yaml:2:18: expected one of header, path, query, client_ip, api_key, api_key_entry, jwt, got the text 'jwts' (did you mean 'jwt'?) [unknown-value]",
    ),
    "on_missing left out": (
        a_key("from: header, name: X"),
        "p.yaml:2:3: key 'on_missing' is missing (one of reject, skip, anonymous) [missing-key]",
    ),
    "not a header name": (
        a_key("from: header, name: X Y, on_missing: skip"),
        "p.yaml:2:32: 'X Y' is not a header name [bad-header-name]",
    ),
    "a prefix too long": (
        a_key("from: client_ip, ipv6_prefix: 129"),
        "p.yaml:2:42: must be at most 128, got 129 [out-of-range]",
    ),
    "a path parameter that is not in the path": (
        a_key("from: path, name: tenant, on_missing: skip").replace(
            "upstream: api,", "match: {path: '/t/{tenent}/**'}, upstream: api,"
        ),
        "p.yaml:8:74: limit 'per-tenant' counts by {tenant} of the path, but this route's path has no {tenant} (match: {path: \"/{tenant}/**\"}) [no-path-parameter]",
    ),
    "an undefined limit": (
        a_route("name: r, upstream: api, limits: [per-tenat, per-tenant]"),
        "p.yaml:8:39: limit 'per-tenat' is not defined (did you mean 'per-tenant'?) [undefined-name]",
    ),
    "a limit twice": (
        a_route("name: r, upstream: api, limits: [per-tenant, per-tenant]"),
        "p.yaml:8:51: limit 'per-tenant' stands twice on this route [duplicate-name]",
    ),
    "cost above the limit": (
        a_route(f"name: r, {ON}, operations: [{{name: o, cost: {{per-tenant: 6}}}}]"),
        "p.yaml:8:94: cost 6 is more than limit 'per-tenant' ever admits (5, p.yaml:6) [cost-above-limit]",
    ),
    "cost of a limit elsewhere": (
        a_route(
            "name: r, upstream: api, operations: [{name: o, cost: {per-tenant: 1}}]",
            f"name: q, {ON}, match: {{path: /q}}",
        ),
        "p.yaml:8:60: cost names limit 'per-tenant', which is not on this route [cost-without-limit]",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_each_mistake_is_said_where_it_stands(name: str, errors_of: Callable[..., list[str]]) -> None:
    text, *expected = BAD[name]
    assert errors_of(text) == expected
