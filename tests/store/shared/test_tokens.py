"""Tokens in a store that goes away, comes back and is read by others; and renewals that are cut off in the middle."""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import nullcontext
from typing import Any

import pytest
from cryptography.fernet import Fernet

from gateway.core.access.credentials import Credential, OAuth
from gateway.core.access.hidden import Hidden
from gateway.core.access.tokens import Failure
from gateway.core.policy import PolicySet
from gateway.modules.credentials import endpoint
from gateway.modules.credentials.renewal import LEAST_AGE_S, NO_STORE, NoToken, Renewal, Surroundings
from gateway.modules.credentials.supply import Supply
from gateway.store.local.store import LocalStore
from gateway.store.redis import RedisStore
from gateway.store.shared.shelf import Shelf
from tests.fakes.oauth_server import CLIENT, FIRST_REFRESH, SECRET, Authority
from tests.fakes.patience import PATIENT_US
from tests.fakes.redis_server import RedisServer
from tests.fakes.waiting import eventually, turns

KEY = Fernet.generate_key().decode()


class World:
    """Workers in one process, each with a store of its own link; time passes for all of them at once."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.told: list[str] = []
        self.passed_s = 0.0
        self.ticking = False
        self.stores: list[RedisStore] = []
        self.supplies: list[Supply] = []

    async def worker(self, redis: RedisServer | None, credential: Credential) -> Renewal:
        store: Any = LocalStore()
        if redis is not None:
            store = RedisStore(redis.url, timeout_us=PATIENT_US)
            self.stores.append(store)
            await store.start()
        return self.worker_on(store, credential)

    def worker_on(self, store: Any, credential: Credential) -> Renewal:
        supply = Supply(Shelf(store), f"worker-{len(self.supplies)}", Surroundings(self.clock, lambda: 0, self.tell))
        self.supplies.append(supply)
        supply.load(set_of(credential))
        one = supply.of(credential)
        assert one is not None
        return one

    def clock(self) -> float:
        return self.passed_s + (time.monotonic() if self.ticking else 0.0)

    def tell(self, _credential: Credential, what: str, _fields: object) -> None:
        self.told.append(what)

    def credential(self, grant: str = "client_credentials", keys: str = KEY, **more: Any) -> Credential:
        oauth = OAuth(
            grant,
            self.authority.token_url,
            CLIENT,
            Hidden(SECRET),
            Hidden(FIRST_REFRESH if grant == "refresh_token" else ""),
            token_keys=tuple(map(Hidden, keys.split())),
            **more,
        )
        return Credential("c1", "up", header="Authorization", shown=Hidden("Bearer "), kind="oauth2", oauth=oauth)

    async def close(self) -> None:
        for supply in self.supplies:
            await supply.close()
        for store in self.stores:
            await store.close()


def set_of(*credentials: Credential) -> PolicySet:
    return PolicySet("1", (), {}, {}, {}, credentials={one.name: one for one in credentials})


@pytest.fixture
async def world(authority: Authority) -> AsyncIterator[World]:
    one = World(authority)
    yield one
    await one.close()


async def test_with_no_key_and_with_no_shared_store_each_worker_has_its_own(
    world: World, own_redis_server: RedisServer
) -> None:
    for redis, keys in ((own_redis_server, ""), (None, KEY)):
        for _ in range(2):
            one = await world.worker(redis, world.credential(keys=keys))
            await one.ready()
    assert world.authority.seen["requests"] == 4
    assert own_redis_server.client().keys("*token:*") == []


async def test_what_is_kept_can_be_read_with_the_key_alone(world: World, own_redis_server: RedisServer) -> None:
    world.authority.control(rotate=True)
    one = await world.worker(own_redis_server, world.credential("refresh_token"))
    await one.ready()
    redis = own_redis_server.client()
    (key,) = redis.keys("*token:*")
    kept = redis.hgetall(key)
    assert redis.pttl(key) > 0
    assert "s3cr3t" not in f"{key} {kept}"
    said = Fernet(KEY).decrypt(next(value for name, value in kept.items() if name in ("sealed", b"sealed")))
    assert b"s3cr3t-access-" in said
    stranger = await world.worker(own_redis_server, world.credential(keys=Fernet.generate_key().decode()))
    await stranger.ready()  # as good as nothing: it asks for itself
    assert stranger.line != one.line


@pytest.mark.parametrize("where", ["sentinel_group", "emptied_cluster"])
@pytest.mark.parametrize("grant", ["client_credentials", "refresh_token"])
async def test_kept_behind_sentinels_and_on_a_cluster(
    world: World, open_store: Any, request: pytest.FixtureRequest, where: str, grant: str
) -> None:
    world.authority.control(rotate=True)
    url = request.getfixturevalue(where).url
    prefix = f"t{secrets.token_hex(4)}:"
    one, other = [world.worker_on(await open_store(url, key_prefix=prefix), world.credential(grant)) for _ in range(2)]
    for each in (one, other):
        await each.ready()
    world.passed_s += 4000
    for each in (other, one):
        await each.ready()
    seen = world.authority.seen
    assert (one.line == other.line, seen["requests"], seen["reused"]) == (True, 2, 0)


async def test_keys_are_changed_one_behind_the_other(world: World, own_redis_server: RedisServer) -> None:
    new = Fernet.generate_key().decode()
    one = await world.worker(own_redis_server, world.credential())
    await one.ready()
    both = await world.worker(own_redis_server, world.credential(keys=f"{new} {KEY}"))
    await both.ready()
    assert (both.line, world.authority.seen["requests"]) == (one.line, 1)


async def test_another_secret_or_scope_is_another_token_but_the_refresh_token_goes_on(
    world: World, own_redis_server: RedisServer
) -> None:
    world.authority.control(rotate=True)
    first = await world.worker(own_redis_server, world.credential("refresh_token"))
    await first.ready()
    second = await world.worker(own_redis_server, world.credential("refresh_token", scope=("less",)))
    await second.ready()
    seen = world.authority.seen
    assert (first.line != second.line, seen["requests"], seen["reused"]) == (True, 2, 0)


async def test_without_the_store_tokens_are_had_but_refresh_tokens_are_not_used(
    world: World, own_redis_server: RedisServer
) -> None:
    plain = await world.worker(own_redis_server, world.credential())
    careful = await world.worker(own_redis_server, world.credential("refresh_token"))
    own_redis_server.kill()
    await plain.ready()
    with pytest.raises(NoToken) as none:
        await careful.ready()
    assert (none.value.failure, world.authority.seen["issued"]) == (NO_STORE, 1)
    assert world.told == ["renewed", "unavailable"]
    own_redis_server.restart()
    await eventually(lambda: world.stores[1].up)
    world.passed_s += 60
    await careful.ready()
    assert world.authority.seen["issued"] == 2


async def test_a_refresh_token_that_the_store_would_not_take_is_offered_until_it_does(
    world: World, own_redis_server: RedisServer
) -> None:
    world.authority.control(rotate=True, mode="hold")
    one = await world.worker(own_redis_server, world.credential("refresh_token"))
    waiting = asyncio.create_task(one.ready())
    await eventually(lambda: world.authority.seen["requests"] == 1)
    own_redis_server.kill()  # while the server of tokens thinks
    world.authority.control(mode="ok")
    await waiting
    assert world.told == ["renewed", "unkept"]
    world.passed_s += 4000  # it goes on with what it knows
    await one.ready()
    own_redis_server.restart()
    await eventually(lambda: one._unkept is None)
    other = await world.worker(own_redis_server, world.credential("refresh_token"))
    await other.ready()
    assert (other.line, world.authority.seen["reused"]) == (one.line, 0)
    world.passed_s += 4000
    await other.ready()
    assert (world.authority.seen["issued"], world.authority.seen["reused"]) == (3, 0)


async def test_what_is_unkept_at_the_end_is_offered_once_more(world: World, own_redis_server: RedisServer) -> None:
    world.authority.control(rotate=True)
    one = await world.worker(own_redis_server, world.credential("refresh_token"))
    await one.ready()
    token = world.authority.seen["forms"]
    real = one._vault.put

    async def not_now(*_: Any) -> None:
        return None

    one._vault.put = not_now  # type: ignore[method-assign]
    world.passed_s += 4000
    await one.ready()
    assert one._unkept is not None
    one._vault.put = real  # type: ignore[method-assign]
    await one.close(awaited=False)
    other = await world.worker(own_redis_server, world.credential("refresh_token"))
    await other.ready()
    assert (other.line, len(token)) == (one.line, 1)


async def test_the_end_waits_for_an_answer_that_may_hold_the_only_refresh_token(
    world: World, own_redis_server: RedisServer
) -> None:
    world.authority.control(rotate=True, mode="hold")
    one = await world.worker(own_redis_server, world.credential("refresh_token"))
    waiting = asyncio.create_task(one.ready())
    await eventually(lambda: world.authority.seen["requests"] == 1)
    closing = asyncio.create_task(one.close(awaited=False))
    await turns()
    world.authority.control(mode="ok")
    await closing
    await waiting
    other = await world.worker(own_redis_server, world.credential("refresh_token"))
    await other.ready()
    assert (other.line, world.authority.seen["requests"]) == (one.line, 1)


async def test_a_worker_that_dies_with_the_lease_holds_the_others_up_no_longer_than_that(
    world: World, own_redis_server: RedisServer
) -> None:
    dead, alive = [await world.worker(own_redis_server, world.credential()) for _ in range(2)]
    taken = await dead._vault.take(0)
    assert taken is not None
    assert taken.mine
    (lease,) = own_redis_server.client().keys("*lease")
    assert 0 < own_redis_server.client().pttl(lease) <= 20_200
    waiting = asyncio.create_task(alive.ready())
    await eventually(lambda: alive._flight is not None)
    own_redis_server.client().pexpire(lease, 1)
    await waiting
    assert world.authority.seen["requests"] == 1


async def test_who_is_refused_waits_for_the_token_that_another_fetches(
    world: World, own_redis_server: RedisServer
) -> None:
    """What it has still lives by its time, but the upstream takes it no more."""
    fetching, waiting = [await world.worker(own_redis_server, world.credential()) for _ in range(2)]
    await fetching.ready()
    await waiting.ready()
    world.passed_s += LEAST_AGE_S + 1
    world.authority.control(mode="hold")
    renewals = [asyncio.create_task(fetching.renew(world.clock()))]
    await eventually(lambda: world.authority.seen["requests"] == 2)
    renewals.append(asyncio.create_task(waiting.renew(world.clock())))
    await eventually(lambda: waiting._flight is not None)
    world.passed_s += 1
    world.authority.control(mode="ok")
    assert await asyncio.gather(*renewals) == [True, True]
    assert (waiting.line, world.authority.seen["requests"]) == (fetching.line, 2)


class Stopped:
    """A worker whose process is stopped when it has its answer, and goes on when it is told to."""

    def __init__(self, one: Renewal) -> None:
        self.put, self.here, self.go_on = one._vault.put, asyncio.Event(), asyncio.Event()
        one._vault.put = self  # type: ignore[method-assign, assignment]

    async def __call__(self, *arguments: Any) -> Any:
        self.here.set()
        await self.go_on.wait()
        return await self.put(*arguments)


async def test_who_was_stopped_for_longer_than_the_lease_overwrites_nothing_newer(
    world: World, own_redis_server: RedisServer
) -> None:
    world.authority.control(rotate=True, lenient=True)
    one, other = [await world.worker(own_redis_server, world.credential("refresh_token")) for _ in range(2)]
    stopped = Stopped(one)
    waiting = asyncio.create_task(one.ready())
    await stopped.here.wait()
    redis = own_redis_server.client()
    (lease,) = redis.keys("*lease")
    redis.delete(lease)  # it has ended
    await other.ready()
    (key,) = redis.keys("*kept")
    newer = redis.hgetall(key)
    stopped.go_on.set()
    await waiting
    assert redis.hgetall(key) == newer
    assert one.line == other.line, "and uses it"
    world.passed_s += 4000
    await one.ready()
    used = [form["refresh_token"] for form in world.authority.seen["forms"]]
    assert used == [FIRST_REFRESH, FIRST_REFRESH, other_refresh(newer)]


def other_refresh(kept: Any) -> str:
    """The refresh token in what is kept."""
    sealed = next(value for name, value in kept.items() if name in ("sealed", b"sealed"))
    return str(json.loads(Fernet(KEY).decrypt(sealed))["refresh"])


async def test_who_was_stopped_waits_for_what_another_has_begun_and_is_heard_if_that_came_to_nothing(
    world: World, own_redis_server: RedisServer
) -> None:
    world.authority.control(rotate=True)
    one, other = [await world.worker(own_redis_server, world.credential("refresh_token")) for _ in range(2)]
    stopped = Stopped(one)
    waiting = asyncio.create_task(one.ready())
    await stopped.here.wait()
    redis = own_redis_server.client()
    redis.delete(*redis.keys("*lease"))
    taken = await other._vault.take(0)
    assert taken is not None
    assert taken.mine
    stopped.go_on.set()
    await waiting
    assert one.serving
    assert (world.told, redis.keys("*kept")) == (["renewed", "unkept"], [])
    await other._vault.fail(Failure(True, "invalid_grant"), 60_000_000, 0)  # the server knows the first token no more
    await eventually(lambda: one._unkept is None)
    await other.ready()
    assert (other.line, world.authority.seen["requests"]) == (one.line, 1)


async def test_a_failure_of_who_was_stopped_holds_up_nobody(world: World, own_redis_server: RedisServer) -> None:
    one, other = [await world.worker(own_redis_server, world.credential()) for _ in range(2)]
    await one._vault.take(0)
    redis = own_redis_server.client()
    redis.delete(*redis.keys("*lease"))
    await other._vault.take(0)
    await one._vault.fail(Failure(False, "no answer"), 60_000_000, 0)
    await other.ready()
    await one._vault.fail(Failure(False, "no answer"), 60_000_000, 0)
    assert redis.keys("*lease") == []


@pytest.mark.parametrize("grant", ["client_credentials", "refresh_token"])
async def test_what_was_corrected_does_not_wait_for_what_failed_before(
    world: World, own_redis_server: RedisServer, grant: str
) -> None:
    world.authority.control(mode="refuse")
    wrong, as_wrong, corrected, as_corrected = [
        await world.worker(own_redis_server, world.credential(grant, keys=keys, scope=scope))
        for scope in (("wrong",), ("right",))
        for keys in (KEY, f"{KEY} {Fernet.generate_key().decode()}")
    ]
    for one in (wrong, as_wrong):
        with pytest.raises(NoToken) as none:
            await one.ready()
        assert none.value.failure == Failure(True, "invalid_client")
    assert world.authority.seen["requests"] == 1, "who asks for the same waits"
    world.authority.control(mode="ok")
    for one in (corrected, as_corrected):
        await one.ready()
    assert (world.authority.seen["requests"], as_corrected.line) == (2, corrected.line)
    assert not wrong.serving, "what it was refused is no token for it"


async def test_an_endpoint_that_is_away_is_left_alone_by_all_who_ask_it(
    world: World, own_redis_server: RedisServer
) -> None:
    """Whatever they ask for: that it is away says nothing about their secrets."""
    world.authority.control(mode="down")
    one, other = [
        await world.worker(own_redis_server, world.credential(keys=KEY, scope=scope)) for scope in (("a",), ("b",))
    ]
    for asking in (one, other):
        with pytest.raises(NoToken) as none:
            await asking.ready()
        assert not none.value.failure.refused
    assert world.authority.seen["requests"] == 1


async def test_a_lease_that_took_long_to_get_is_made_sure_of(world: World, own_redis_server: RedisServer) -> None:
    one = await world.worker(own_redis_server, world.credential())
    take, waits = one._vault.take, [30.0, 0.0]

    async def slow(version: int) -> Any:
        taken = await take(version)
        world.passed_s += waits.pop(0)
        return taken

    one._vault.take = slow  # type: ignore[method-assign]
    await one.ready()
    assert (waits, world.authority.seen["requests"]) == ([], 1)


@pytest.mark.parametrize("lenient", [True, False])
async def test_who_dies_between_the_servers_answer_and_the_store_takes_the_new_refresh_token_along(
    world: World, own_redis_server: RedisServer, lenient: bool
) -> None:
    """The others have the old one: good enough for lenient servers; of others they are told no, and say so once."""
    world.authority.control(rotate=True, lenient=lenient)
    dead, alive = [await world.worker(own_redis_server, world.credential("refresh_token")) for _ in range(2)]
    dying = asyncio.create_task(dead.ready())
    await Stopped(dead).here.wait()
    own_redis_server.client().delete(*own_redis_server.client().keys("*lease"))
    for _ in range(5):
        with nullcontext() if lenient else pytest.raises(NoToken, match="invalid_grant"):
            await alive.ready()
    assert alive.serving is lenient
    assert world.authority.seen["requests"] == 2
    assert world.told == (["renewed"] if lenient else ["refused"])
    dying.cancel()
    assert dead._flight is not None
    dead._flight.cancel()


async def test_who_waits_for_the_dead_too_long_says_so(
    world: World, own_redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.modules.credentials.renewal.PATIENCE_S", 0.05)
    world.ticking = True
    dead, alive = [await world.worker(own_redis_server, world.credential()) for _ in range(2)]
    await dead._vault.take(0)
    with pytest.raises(NoToken) as none:
        await alive.ready()
    assert none.value.failure.reason == "another worker is still asking the token endpoint"


async def test_a_store_that_lost_everything_gets_newer_versions(world: World, own_redis_server: RedisServer) -> None:
    first, second = [await world.worker(own_redis_server, world.credential()) for _ in range(2)]
    await first.ready()
    await second.ready()
    assert first.line == second.line
    own_redis_server.client().flushall()
    world.passed_s += 4000
    await first.ready()
    await second.ready()
    assert (first.line == second.line, world.authority.seen["requests"]) == (True, 2)


async def test_a_slow_endpoint_is_given_up(
    world: World, own_redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.authority.control(mode="hang")
    one = await world.worker(own_redis_server, world.credential())
    monkeypatch.setattr(endpoint, "FETCH_S", 0.1)
    with pytest.raises(NoToken) as none:
        await asyncio.gather(*[one.ready() for _ in range(50)])
    assert none.value.failure.reason == "no answer within 0.1 s"
    with pytest.raises(NoToken):
        await one.ready()
    assert world.authority.seen["requests"] <= 1  # a busy endpoint may not even have read it


async def test_another_edition_goes_on_with_what_has_not_changed(world: World) -> None:
    credential = world.credential("refresh_token")
    world.authority.control(rotate=True)
    one = await world.worker(None, credential)
    await one.ready()
    supply = world.supplies[0]
    same = supply.successor(set_of(world.credential("refresh_token")))
    assert same.of(credential) is one
    await supply.close(shared_with=same)
    changed = world.credential("refresh_token", scope=("less",))
    other = same.successor(set_of(changed))
    world.supplies = [other]
    renewed = other.of(changed)
    assert renewed is not None
    assert renewed is not one
    assert other.line(credential) == one.line, "calls under way keep what they began with"
    await same.close(shared_with=other)
    await renewed.ready()
    seen = world.authority.seen
    assert (seen["issued"], seen["reused"], len({form["refresh_token"] for form in seen["forms"]})) == (2, 0, 2)
    assert other.successor(set_of()).line(changed) == renewed.line
