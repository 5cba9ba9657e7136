"""Tokens of OAuth 2.0 (RFC 6749): what a token endpoint may answer, how long a token serves, when to ask again.

Times are microseconds. How long a token lives is told as a length, never as a moment: nobody's clock but the one that
counts it matters.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from gateway.core.access.hidden import NOTHING_HIDDEN, Hidden
from gateway.core.units import DAY_US, MINUTE_US, SECOND_US

ASSUMED_LIFE_US = 300 * SECOND_US
"""Of a token whose endpoint does not say (RFC 6749 §5.1 only recommends that it does)."""
LONGEST_LIFE_US = DAY_US
SPARE_US = 10 * SECOND_US
"""A token is not shown in its last seconds, a tenth of its life at most: it has to arrive before it expires."""
CHANCE = 1 << 32
FIRST_WAIT_US, LONGEST_WAIT_US = SECOND_US, MINUTE_US
REFUSED_WAIT_US = MINUTE_US
LONGEST_ASKED_US = 600 * SECOND_US
_SHOWN = re.compile(r"[!-~]{1,16384}").fullmatch
_POSTED = re.compile(r"[ -~]{1,16384}").fullmatch  # VSCHAR: RFC 6749 appendix A.17, where it has the blank
_WORD = re.compile(r"[a-z_]{1,64}").fullmatch
REFUSED, UNAVAILABLE = "token_refused", "token_unavailable"
"""Classes of the errors of calls for which there is no token: the endpoint says no, or gives no usable answer."""
REFUSALS = frozenset({"invalid_grant", "invalid_client", "unauthorized_client", "invalid_scope", "access_denied"})
"""Error codes (RFC 6749 §5.2) that no waiting mends: somebody has to authorize again, or correct the policy."""


class Token(NamedTuple):
    """An access token with what is needed for the next one.

    life_us  from when the endpoint answered
    refresh  the refresh token to use next; empty = the one that is configured
    """

    access: Hidden
    life_us: int
    refresh: Hidden = NOTHING_HIDDEN


class Failure(NamedTuple):
    """Why there is no new token. `refused`: the endpoint said no, else there was no usable answer.

    reason    for people: an error code of the RFC or words of ours, nothing else of the answer
    asked_us  how long the endpoint wants to be left alone; 0 = it does not say
    """

    refused: bool
    reason: str
    asked_us: int = 0


def read_answer(status: int, document: Any, retry_after: str = "") -> Token | Failure:
    """What a token endpoint says.

    document     its JSON, None when it is none
    retry_after  the field's value; only seconds are understood (RFC 9110 §10.2.3)
    """
    if status >= 500 or status in (408, 429):
        return Failure(False, f"answered with status {status}", _seconds_us(retry_after))
    if not isinstance(document, dict):
        return Failure(False, f"answered with status {status} and no JSON object")
    error = document.get("error")
    if status != 200 or error is not None:
        return _refusal(status, error)
    access, kind = document.get("access_token"), document.get("token_type")
    if not isinstance(access, str) or not _SHOWN(access):
        return Failure(False, "the answer has no usable access_token")
    if kind is not None and (not isinstance(kind, str) or kind.lower() != "bearer"):
        return Failure(False, "the token is not a bearer token")
    life_us = _life_us(document)
    if life_us <= 0:
        return Failure(False, "the answer has no usable expires_in")
    refresh = document.get("refresh_token")
    usable = isinstance(refresh, str) and _POSTED(refresh)
    return Token(Hidden(access), life_us, Hidden(str(refresh)) if usable else NOTHING_HIDDEN)


def _refusal(status: int, error: object) -> Failure:
    if isinstance(error, str) and _WORD(error):
        return Failure(error in REFUSALS, error)
    return Failure(status in (401, 403), f"answered with status {status}")


def _seconds_us(text: str) -> int:
    fits = text.isascii() and text.isdigit() and len(text) < 6
    return min(int(text) * SECOND_US, LONGEST_ASKED_US) if fits else 0


def _life_us(document: Mapping[str, Any]) -> int:
    """0 = it is no length of time. Some write the number in quotes."""
    if document.get("expires_in") is None:
        return ASSUMED_LIFE_US
    said = document["expires_in"]
    if isinstance(said, str) and said.isascii() and said.isdigit() and len(said) < 20:
        said = int(said)
    if isinstance(said, bool) or not isinstance(said, int | float) or said <= 0:
        return 0
    return int(min(said, LONGEST_LIFE_US // SECOND_US) * SECOND_US)


def serves_us(life_us: int) -> int:
    """For how long a token that lives so long is shown."""
    return life_us - min(SPARE_US, life_us // 10)


def renew_in_us(life_us: int, chance: int) -> int:
    """When to ask for the next one: after 70 to 80 % of its life, so that workers do not all come at once.

    chance  a random number, 0 <= chance < CHANCE
    """
    return life_us * 7 // 10 + (life_us // 10 * chance >> 32)


def wait_us(failure: Failure, failures: int, chance: int) -> int:
    """How long to leave the endpoint alone after so many failures in a row, at least 1; up to a quarter longer.

    chance  as for `renew_in_us`
    """
    least = REFUSED_WAIT_US if failure.refused else min(FIRST_WAIT_US << min(failures - 1, 16), LONGEST_WAIT_US)
    least = max(least, failure.asked_us)
    return least + (least // 4 * chance >> 32)
