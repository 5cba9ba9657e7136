"""How long keys live: never shorter than what they count, never longer than two windows after the last charge,
and a bucket's than twice the time to fill it."""

import itertools
import random
from dataclasses import replace

import pytest
import redis

from gateway.core.ask import Ask
from gateway.core.limits import Algorithm, Charge, Decision, Limit
from gateway.store.scripts.limits import HEAD, decode_admit, encode_admit, encode_release, encode_renew
from gateway.store.scripts.sources import ADMIT, RELEASE, RENEW
from tests.contract.counters import PREFIX, CoreModel, Scripts, server_ms
from tests.contract.test_timelines import MINUTE, SECOND, START, bucket, fixed, parallel, rolling

SLACK_MS = 100
SOON_MS = 20_000
"""Keys that end soon, and not before a busy host has come to the next step."""

LIMITS = [
    rolling(quota=20, window_us=10 * MINUTE),
    rolling(quota=20, window_us=10 * MINUTE, precision=1),
    rolling(quota=20, window_us=10 * MINUTE, precision=7),
    rolling(quota=6, window_us=777),
    bucket(burst=5, rate=7, per_us=11 * SECOND),
    fixed(quota=5, window_us=10 * MINUTE),
    parallel(slots=5, lease_us=MINUTE),
]


TELL_TTL = """
local asked_ms, server = 0, redis
local redis = {pcall = server.pcall, call = function(command, key, ...)
  local rest = {...}
  if command == 'PEXPIRE' then asked_ms = rest[1] end
  if command == 'SET' and rest[2] == 'PX' then asked_ms = rest[3] end
  return server.call(command, key, ...)
end}
"""
"""Put before the script: what it asks for is exact, what PTTL says a moment later is not."""


class ServerClock:
    """A server whose keys end on the clock that the test passes in: the time to live of each is carried over to it."""

    def __init__(self, client: "redis.Redis") -> None:
        self.client = client
        told = ADMIT.source.replace("\n  return runs or packed", "\n  return {packed, asked_ms}")
        assert told != ADMIT.source
        self.sha = client.script_load(TELL_TTL + told)
        self.ends_us: int | None = None

    def admit(self, charge: Charge, lease: str, now_us: int) -> Decision:
        key = PREFIX + charge.key
        if self.ends_us is not None and now_us > self.ends_us:
            self.client.delete(key)
            self.ends_us = None
        arguments = encode_admit(Ask([charge]), lease, prefix=PREFIX, commit=True, now_us=now_us)
        with self.client.pipeline(transaction=True) as pipe:
            pipe.execute_command("EVALSHA", self.sha, *arguments)
            pipe.persist(key)
            (reply, ttl_ms), _ = pipe.execute()
        if ttl_ms:
            self.ends_us = now_us + (ttl_ms - SLACK_MS) * 1000
        return decode_admit(reply, Ask([charge]))


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: f"{limit.algorithm}-{limit.window_us}-{limit.quantum_us}")
def test_with_keys_that_end_the_answers_stay_those_of_the_core(server: "redis.Redis", limit: Limit) -> None:
    """The core forgets nothing; the server forgets with its keys. Only what counts for nothing may be forgotten."""
    chance, model, clocked, now_us, ended = random.Random(7), CoreModel(), ServerClock(server), START, 0
    for step in range(600):
        now_us += round(chance.expovariate(1.5 * limit.quota / limit.window_us))
        if chance.random() < 0.05:
            now_us += chance.randint(0, 4 * limit.window_us)
        charge = Charge(limit, "key", chance.choice((1, 1, 1, 2, 4)))
        had = clocked.ends_us
        decision = clocked.admit(charge, f"lease-{step}", now_us)
        ended += had is not None and now_us > had
        assert decision == model.admit([charge], f"lease-{step}", now_us)
        if decision.admitted:
            assert clocked.ends_us is not None
            lives_us = clocked.ends_us - now_us
            assert decision.verdicts[0].reset_us <= lives_us < 2 * limit.window_us + 1000
    assert ended > 5, "a sequence in which no key ends shows nothing"


@pytest.mark.parametrize(
    ("before", "since"),
    [
        (rolling(window_us=MINUTE), rolling(window_us=10 * MINUTE)),
        (bucket(burst=5, rate=5, per_us=SECOND), bucket(burst=5, rate=1, per_us=MINUTE)),
        (fixed(window_us=MINUTE), fixed(window_us=10 * MINUTE)),
        (parallel(lease_us=SECOND), parallel(lease_us=MINUTE)),
    ],
    ids=lambda limit: limit.algorithm,
)
def test_a_key_that_was_to_end_sooner_lives_on_under_longer_windows(
    server: "redis.Redis", before: Limit, since: Limit
) -> None:
    clocked = ServerClock(server)
    clocked.admit(Charge(before, "key", 1), "a", START)
    decision = clocked.admit(Charge(since, "key", 1), "b", START + 1)
    assert clocked.ends_us is not None
    assert decision.verdicts[0].reset_us <= clocked.ends_us - (START + 1)


def test_the_time_to_live_on_the_server_clock(server: "redis.Redis") -> None:
    """With the time of the server itself: what each algorithm needs, and the slack."""
    Scripts(server)
    needs_ms = {"rolling": 2 * 600_000, "bucket": 2 * 5_000, "fixed": 600_000, "parallel": 60_000}
    limits = [rolling(), bucket(burst=10), fixed(window_us=10 * MINUTE), parallel()]
    charges = [Charge(limit, name, 5 if name == "bucket" else 1) for name, limit in zip(needs_ms, limits, strict=True)]
    with server.pipeline(transaction=True) as pipe:
        pipe.execute_command(
            "EVALSHA", ADMIT.sha1_hex, *encode_admit(Ask(charges), "lease", prefix=PREFIX, commit=True)
        )
        for charge in charges:
            pipe.pttl(PREFIX + charge.key)
        reply, *ttls_ms = pipe.execute()
        passed_ms = server_ms(server) - HEAD.unpack_from(reply)[1] // 1000
    _, now_us = HEAD.unpack_from(reply)
    assert now_us > START
    needs_ms["fixed"] = 600_000 - now_us // 1000 % 600_000
    for need_ms, ttl_ms in zip(needs_ms.values(), ttls_ms, strict=True):
        assert need_ms - 1 - passed_ms <= ttl_ms <= need_ms + 1000


def test_leases_on_the_server_clock(server: "redis.Redis") -> None:
    Scripts(server)
    charge = Charge(parallel(slots=3), "slots", 2)
    key = PREFIX + charge.key
    ask = Ask([charge])
    reply = server.evalsha(ADMIT.sha1_hex, *encode_admit(ask, "a", prefix=PREFIX, commit=True))
    admitted_us = decode_admit(reply, ask).now_us
    assert dict(server.zrange(key, 0, -1, withscores=True)) == dict.fromkeys((b"a", b"a#2"), admitted_us + MINUTE)
    server.pexpire(key, SOON_MS)
    assert server.evalsha(RENEW.sha1_hex, *encode_renew([charge], "a", PREFIX)) == [2]
    seconds, micros = server.time()
    assert admitted_us + MINUTE < server.zscore(key, "a#2") <= seconds * SECOND + micros + MINUTE
    assert server.pttl(key) > SOON_MS
    assert server.evalsha(RELEASE.sha1_hex, *encode_release([charge], "a", PREFIX)) == [2]
    assert server.evalsha(RELEASE.sha1_hex, *encode_release([charge], "a", PREFIX)) == [0]
    assert server.evalsha(RENEW.sha1_hex, *encode_renew([charge], "a", PREFIX)) == [0]
    assert not server.exists(key)


def test_a_call_with_a_short_lease_does_not_end_the_slots_of_others(server: "redis.Redis") -> None:
    """The lease was made longer while it ran."""
    scripts = Scripts(server)
    before, since = (Charge(parallel(slots=5, lease_us=lease_us), "k", 1) for lease_us in (SECOND, MINUTE))
    for charge, lease in ((before, "a"), (since, "b")):
        scripts.admit([charge], lease, START)
    server.pexpire(PREFIX + "k", MINUTE // 1000)
    assert server.evalsha(RENEW.sha1_hex, *encode_renew([before], "a", PREFIX, now_us=START)) == [1]
    assert server.pttl(PREFIX + "k") > SOON_MS


def test_every_key_of_many_callers_ends_within_two_windows(server: "redis.Redis") -> None:
    Scripts(server)
    with server.pipeline(transaction=False) as pipe:
        for number in range(2000):
            charges = [
                Charge(limit, f"{index}:{{={number}}}", 1) for index, limit in enumerate(LIMITS[:2] + LIMITS[4:])
            ]
            pipe.execute_command(
                "EVALSHA", ADMIT.sha1_hex, *encode_admit(Ask(charges), "x", prefix=PREFIX, commit=True)
            )
        pipe.execute()
    keys = list(server.scan_iter(count=1000))
    with server.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.pttl(key)
        ttls_ms = pipe.execute()
    assert 2000 * 2 <= len(keys) <= 2000 * 5, "some may have ended by now"
    never, ended = -1, -2
    assert all(ttl_ms == ended or never < ttl_ms <= 2 * 600_000 + SLACK_MS for ttl_ms in ttls_ms)


def test_refusals_write_nothing(server: "redis.Redis") -> None:
    """A hot key that is refused a thousand times: not one write reaches the server, the key does not grow."""
    scripts = Scripts(server)
    limit = rolling(quota=10)
    charges = [Charge(limit, "hot", 1), Charge(bucket(burst=5000), "b", 1), Charge(parallel(slots=5000), "c", 1)]
    for _ in range(10):
        assert scripts.admit(charges, "lease", START).admitted
    before = {key: server.dump(key) for key in server.scan_iter()}
    server.config_resetstat()
    with server.pipeline(transaction=False) as pipe:
        for step in range(1000):
            arguments = encode_admit(Ask(charges), f"lease-{step}", prefix=PREFIX, commit=True, now_us=START + step)
            pipe.execute_command("EVALSHA", ADMIT.sha1_hex, *arguments)
        assert all(reply[0] == 0 for reply in pipe.execute())
    assert commands_run(server) == {"evalsha": 1000, "getrange": 2000, "zrange": 1000, "zcount": 1000}
    assert {key: server.dump(key) for key in server.scan_iter()} == before


def commands_run(server: "redis.Redis") -> dict[str, int]:
    """Calls of each command since the statistics were reset, those made by scripts included."""
    stats = server.info("commandstats")
    return {
        name.removeprefix("cmdstat_"): stat["calls"] for name, stat in stats.items() if "cmdstat_config" not in name
    }


def test_what_one_decision_runs(server: "redis.Redis") -> None:
    """One EVALSHA from outside; inside it a read and a write or two for each limit, at the server's own time."""
    Scripts(server)
    charges = [Charge(rolling(quota=50), "r", 1), Charge(bucket(burst=50), "b", 1)]
    arguments = encode_admit(Ask(charges), "", prefix=PREFIX, commit=True)
    for _ in range(6):  # the log is full before the fifth, the bucket's key to be renewed at the sixth
        server.evalsha(ADMIT.sha1_hex, *arguments)
    server.config_resetstat()
    assert server.evalsha(ADMIT.sha1_hex, *arguments)[0] == 1
    assert commands_run(server) == {"evalsha": 1, "time": 1, "getrange": 2, "setrange": 3}


@pytest.mark.parametrize(
    "limit",
    [bucket(burst=50, per_us=MINUTE), fixed(quota=50, window_us=10 * MINUTE)],
    ids=lambda limit: limit.algorithm,
)
def test_a_key_that_an_older_gateway_wrote_counts_and_is_renewed(server: "redis.Redis", limit: Limit) -> None:
    """Strings did not say when their key ends once: such a one may end at any time."""
    Scripts(server)
    key = PREFIX + "k"
    ask = Ask([Charge(limit, "k", 1)])
    arguments = encode_admit(ask, "", prefix=PREFIX, commit=True, now_us=START)
    for charged in range(1, 20):
        decision = decode_admit(server.evalsha(ADMIT.sha1_hex, *arguments), ask)
        assert decision.verdicts[0].remaining == 50 - charged
        assert server.pttl(key) > SOON_MS
        if charged % 3 == 0:
            server.set(key, server.getrange(key, 0, -8), px=SOON_MS)


def test_a_key_of_another_kind_is_taken_over(server: "redis.Redis") -> None:
    """Whatever stands under the name of a key counts as nothing, and is replaced by the first charge."""
    scripts = Scripts(server)
    things = {
        "list": lambda key: server.rpush(key, "x"),
        "hash": lambda key: server.hset(key, "a", "b"),
        "text": lambda key: server.set(key, "500"),
        "long": lambda key: server.set(key, "x" * 500),
        "cut": lambda key: server.set(key, b"\x11\x00"),
    }
    lasting = [limit for limit in LIMITS if limit.window_us > SECOND]
    for (name, put), limit in itertools.product(things.items(), lasting):
        charge = Charge(replace(limit, quota=3), name, 1)
        put(PREFIX + name)
        assert scripts.peek([charge], START).verdicts[0].remaining == 3
        assert scripts.admit([charge], "lease", START).verdicts[0].remaining == 2
        assert scripts.admit([charge], "other", START).verdicts[0].remaining == 1
        scripts.release([charge], "lease", START)
        put_back = scripts.peek([charge], START).verdicts[0].remaining
        assert put_back == (2 if limit.algorithm is Algorithm.CONCURRENCY else 1)
        server.delete(PREFIX + name)


def test_an_error_of_the_server_is_raised_and_not_taken_for_a_foreign_key(server: "redis.Redis") -> None:
    Scripts(server)
    arguments = encode_admit(Ask([Charge(rolling(), "k", 1)]), "", prefix=PREFIX, commit=True)
    server.acl_setuser("reader", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-getrange"])
    try:
        pool = redis.ConnectionPool(
            connection_class=redis.UnixDomainSocketConnection,
            path=server.connection_pool.connection_kwargs["path"],
            username="reader",
            password="x",
        )
        with (
            redis.Redis(connection_pool=pool) as limited,
            pytest.raises(redis.ResponseError, match=r"can.t run this|permissions"),
        ):
            limited.evalsha(ADMIT.sha1_hex, *arguments)
        pool.disconnect()
    finally:
        server.acl_deluser("reader")
    assert server.dbsize() == 0
