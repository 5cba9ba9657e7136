"""Which store a URL names, and what its log field says."""

import pytest

from gateway.core.ask import Ask
from gateway.settings import StoreSettings
from gateway.store.local.store import LocalStore
from gateway.store.open import open_store as choose
from gateway.store.redis import RedisStore


async def test_the_settings_own_url(redis_url):
    store = choose(StoreSettings(url=redis_url))
    assert isinstance(store, RedisStore)
    assert store.kind == "redis"


async def test_the_embedded_server_where_it_runs(redis_client, redis_url, make_charge):
    store = choose(StoreSettings(key_prefix="mine:", timeout_us=20_000_000), url=redis_url)
    assert store.kind == "embedded"
    await store.start()
    assert (await store.admit(Ask([make_charge()]), "")).admitted
    assert await redis_client.exists("mine:w:{=acme}") == 1
    await store.close()


@pytest.mark.parametrize(
    ("own_url", "said_us", "timeout_s"),
    [("embedded", 20_000, 0.1), ("embedded", 300_000, 0.3), ("redis://127.0.0.1:1", 20_000, 0.02)],
)
def test_the_embedded_server_has_time_when_all_processors_are_busy(own_url, said_us, timeout_s):
    store = choose(StoreSettings(url=own_url, timeout_us=said_us), url="redis://127.0.0.1:1")
    assert isinstance(store, RedisStore)
    assert store._pipeline._timeout_s == timeout_s


def test_inside_this_process():
    assert isinstance(choose(StoreSettings(url="local")), LocalStore)
    assert isinstance(choose(StoreSettings(), url="local"), LocalStore)


@pytest.mark.parametrize(
    ("url", "text"),
    [("embedded", "not running"), ("redis://:s3cret", "not host"), ("redis+cluster://a/1", "no database")],
)
def test_a_url_that_cannot_be_used(url, text):
    with pytest.raises(ValueError, match=text) as caught:
        choose(StoreSettings(url=url))
    assert "s3cret" not in str(caught.value)
