"""Chooses the store by its URL."""

from gateway.core.store_url import parse_url
from gateway.names import KnownNames
from gateway.settings import StoreSettings
from gateway.store import Store
from gateway.store.cluster.store import ClusterStore
from gateway.store.connection.pipeline import OnEvent, ignore_event
from gateway.store.local.store import LocalStore
from gateway.store.redis import RedisStore

EMBEDDED_TIMEOUT_US = 100_000
"""At least. The embedded store shares the gateway's processors: when all are busy it is late, and still there."""

Scripted = RedisStore | ClusterStore
"""Stores that other processes share: they run scripts, besides those about limits."""


def open_store(
    settings: StoreSettings, *, url: str = "", on_event: OnEvent = ignore_event, known: KnownNames | None = None
) -> Store:
    """The store that the settings name, not started yet.

    url  where the store is when the settings only say `embedded`: the URL of a running `EmbeddedServer`, or `local`
         when there is no server for this platform. Empty: the settings' own URL.

    known  as for `RedisStore`

    Raises ValueError for a URL that cannot be used; the text shows no secret.
    """
    place = url or settings.url
    if place == "local":
        return LocalStore()
    if place == "embedded":
        raise ValueError("the embedded store is not running: nobody gave its URL")
    return redis_store(settings, place, on_event=on_event, known=known)


def redis_store(
    settings: StoreSettings,
    place: str,
    *,
    on_event: OnEvent = ignore_event,
    decides: bool = True,
    known: KnownNames | None = None,
) -> Scripted:
    """The one at this URL, not started yet. `decides` and `known` as for `RedisStore`. Raises ValueError as
    `open_store` does."""
    if parse_url(place).cluster:
        return ClusterStore(
            place,
            key_prefix=settings.key_prefix,
            timeout_us=settings.timeout_us,
            on_event=on_event,
            decides=decides,
            known=known,
        )
    embedded = settings.url == "embedded"
    return RedisStore(
        place,
        key_prefix=settings.key_prefix,
        timeout_us=max(settings.timeout_us, EMBEDDED_TIMEOUT_US) if embedded else settings.timeout_us,
        kind="embedded" if embedded else "redis",
        on_event=on_event,
        decides=decides,
        known=known,
    )
