"""What is kept in the store, byte for byte: while gateways are replaced by those of a new version, both share it.

So whoever has to change bytes or names here sees to it that scripts read both, as they do strings that do not say when
their key ends; or says in the changelog what is counted anew.
"""

from collections.abc import Callable

import pytest
import redis

from gateway.core.ask import Ask
from gateway.core.guards import Breaker, Guard, Pausing, Report, Standing, State
from gateway.core.keys import partition
from gateway.core.limits import Charge, Limit, Verdict
from tests.contract.counters import PREFIX, Scripts
from tests.core.limit_cases import bucket, concurrency, fixed, rolling

START_US = 1_764_000_000_000_000
S = 1_000_000

ROLLING = (
    "110644594171824000000000000106445948894e000000000f42400000000400000000000000040000000000000002000000000000"
    "00000000000000000000 0000000f424000000002 00000000000000000000 00000000000000000000"  # a ring of four
)
BREAKER = Guard(Breaker("b", ("c",), consecutive_failures=2, failure_ppm=500_000, close_after=2), "k")
PAUSE = Guard(Pausing("p", 900 * S), "k")


@pytest.mark.parametrize(
    ("limit", "kept", "verdict"),
    [
        (rolling(9, 60 * S), ROLLING, Verdict(True, 5, 59 * S, 58 * S, 0)),
        (
            bucket(9, 1, 10 * S),
            "21 000000030a32c0 06445941718240 000000989680 06445943c49a00",
            Verdict(True, 5, 38 * S, 8 * S, 0),
        ),
        (fixed(9, 60 * S), "31 06445941718240 00000004 06445944f5c700", Verdict(True, 5, 58 * S, 58 * S, 0)),
    ],
    ids=["rolling", "bucket", "fixed"],
)
def test_counters(server: "redis.Redis", limit: Limit, kept: str, verdict: Verdict) -> None:
    """Two calls of two units, a second apart."""
    scripts, charge = Scripts(server), Charge(limit, "k", 2)
    for at_us in (START_US, START_US + S):
        scripts.admit([charge], "", at_us)
    assert server.get(f"{PREFIX}k") == bytes.fromhex(kept)
    server.set(f"{PREFIX}k", bytes.fromhex(kept))
    assert scripts.peek([charge], START_US + 2 * S).verdicts == (verdict,)


def test_slots(server: "redis.Redis") -> None:
    Scripts(server).admit([Charge(concurrency(9, 60 * S), "k", 2)], "lease", START_US)
    ends_us = float(START_US + 60 * S)
    assert server.zrange(f"{PREFIX}k", 0, -1, withscores=True) == [(b"lease", ends_us), (b"lease#2", ends_us)]


def test_another_number_for_a_while(server: "redis.Redis") -> None:
    """It stands in the counter's place, and the counter beside it."""
    scripts, charge = Scripts(server), Charge(fixed(9, 60 * S), "k", 1)
    scripts.grant(charge, 3, 50 * S, START_US)
    scripts.admit([charge], "", START_US)
    assert server.get(f"{PREFIX}k") == bytes.fromhex("71 00000003 064459445d3080") + b"why"
    assert server.get(f"{PREFIX}k!") == bytes.fromhex("31 06445941624000 00000001 06445944f5c700")


def failed(scripts: Scripts) -> None:
    scripts.report([Report(BREAKER, 0, 0, 3, 1)], START_US)


def opened(scripts: Scripts) -> None:
    failed(scripts)
    scripts.report([Report(BREAKER, 0, 0, 0, 1)], START_US + S)


def probed(scripts: Scripts) -> None:
    opened(scripts)
    scripts.ask(Ask([], [BREAKER]), START_US + 40 * S)


def paused(scripts: Scripts) -> None:
    scripts.pause(PAUSE, 30 * S, START_US)
    scripts.pause(PAUSE, 60 * S, START_US, 4)


@pytest.mark.parametrize(
    ("happened", "guard", "kept", "standing"),
    [
        (
            failed,
            BREAKER,
            f"51 01 00 00000000 {bytes(20).hex()} 00000001 00 {bytes(13).hex()}"
            f"0000005b8d80 00000011861580 00000004 00000001 {bytes(4 + 9 * 12).hex()}",
            Standing(urgent=True),
        ),
        (
            opened,
            BREAKER,
            "51 01 01 00000001 06445941718240 064459433b45c0 000001c9c380 00000000 01 00000002 00000002 00000000 00",
            Standing(State.OPEN, 28 * S, 1),
        ),
        (
            probed,
            BREAKER,
            "51 01 02 00000002 06445943c49a00 00000000000000 000001c9c380 00000000 01 00000002 00000002 00000000"
            "01 0644594410e540",
            Standing(State.HALF_OPEN, 1, 2),
        ),
        (paused, PAUSE, "61 01 06445943 2c0380 00000004 06445944f5c700", Standing(State.OPEN, 27 * S)),
    ],
    ids=["failed", "opened", "probed", "paused"],
)
def test_guards(
    server: "redis.Redis", happened: Callable[[Scripts], None], guard: Guard, kept: str, standing: Standing
) -> None:
    scripts, packed = Scripts(server), bytes.fromhex(kept.replace(" ", ""))
    happened(scripts)
    assert server.get(f"{PREFIX}k") == packed
    server.set(f"{PREFIX}k", packed)
    at_us = START_US + (45 * S - 1 if happened is probed else 3 * S)
    assert scripts.ask(Ask([], [guard]), at_us, commit=False).standings == (standing,)


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("acme", "l:{=acme}"),
        ("jo+crm@acme.example", "l:{=jo+crm@acme.example}"),
        ("a b", "l:{#acc9227cc02e5f5c13e74125bce89499}"),
        (None, "l:{~}"),
    ],
)
def test_names(value: str | None, named: str) -> None:
    assert partition("l", ["k"], {"k": value}) == named
