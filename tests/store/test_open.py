"""Which store a URL names, and what its log field says."""

import pytest

from gateway.core.ask import Ask
from gateway.settings import StoreSettings
from gateway.store.local import LocalStore
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
