"""Takes webhooks in: what is acknowledged is in the store, once, and will be delivered."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from time import time_ns

from gateway.core.ask import Ask
from gateway.core.keys import partition_key
from gateway.core.limits import Algorithm, Charge, Limit, Posture
from gateway.core.webhooks.intake import LIMIT, Rejected, Source, Understood, understand
from gateway.store import StoreDown
from gateway.store.shared.queues import MARKS_FIELD, REPLAYED, Letter, Office, Taken, short

_NOT_PASSED = frozenset(
    {
        *("host", "content-length", "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"),
        *("proxy-authorization", "proxy-connection", "authorization", "cookie", "expect", "accept-encoding", "via"),
        *("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "user-agent"),
        *("webhook-id", "webhook-timestamp", "webhook-signature"),
    }
)
_OURS = "gateway-webhook-"
_MARKS = {"l": "late", "o": "out-of-order", "r": REPLAYED}


class Inlet:
    """One source at work."""

    def __init__(self, source: Source, office: Office) -> None:
        self.source = source
        self.office = office
        self.queues = [queue_of(source, receiver.name) for receiver in source.to]
        self.ask = _ask(source)


class Intake:
    """The sources of webhooks, and the way of what they send into the queues of services.

    path       in front of the names of sources, such as `/hooks/`
    counts     webhooks by (source, result)
    on_stored  told that these queues have more
    """

    def __init__(
        self,
        path: str,
        sources: Sequence[Source],
        office: Callable[[str], Office],
        on_stored: Callable[[Sequence[str]], None],
    ) -> None:
        self.path = path
        self.counts: Counter[tuple[str, ...]] = Counter()
        self._on_stored = on_stored
        self._inlets = {source.name: Inlet(source, office(source.name)) for source in sources}

    def find(self, target: str) -> Inlet | None:
        """The source that a request's target names; None for another."""
        return self._inlets.get(target.removeprefix(self.path).partition("?")[0])

    def check(self, inlet: Inlet, fields: Mapping[str, str], body: bytes) -> Understood:
        """The webhook that these fields and this body are, its signature checked. Raises Rejected."""
        try:
            return understand(inlet.source, fields, body, time_ns() // 1000)
        except Rejected as rejected:
            self.counts[inlet.source.name, rejected.reason] += 1
            raise

    async def take(self, inlet: Inlet, known: Understood, fields: Mapping[str, str], body: bytes) -> str:
        """Keep it: `accepted`, `duplicate`, `full`, `queue_broken` or `store_away`.

        Only after the first two will it be delivered; after the others the sender has to send it again.
        """
        source, kept = inlet.source, passed_on(fields)
        letter = Letter(known.id, body, key=short(known.key), place=known.place, marks=known.marks, fields=kept)
        result = await self._append(inlet, letter)
        self.counts[source.name, result] += 1
        return result

    async def _append(self, inlet: Inlet, letter: Letter) -> str:
        source = inlet.source
        try:
            appended = await inlet.office.append(
                letter, inlet.queues, seen_ms=source.seen_us // 1000, most=source.most_waiting
            )
        except StoreDown:
            return "store_away"
        if appended.broken:
            return "queue_broken"
        if appended.result < 0:
            return "full"
        self._on_stored(inlet.queues)
        return "accepted" if appended.result else "duplicate"


def passed_on(fields: Mapping[str, str]) -> dict[str, str]:
    """What goes along to services: nothing about the connection or the sender, nothing that looks like ours.

    A field that stands in several lines is one, as RFC 9110 §5.3 joins them.
    """
    whole: dict[str, str] = {}
    for spelled, text in fields.items():
        name = spelled.lower()
        whole[name] = f"{whole[name]}, {text}" if name in whole else text
    left_out = {name.strip().lower() for name in whole.get("connection", "").split(",")} | _NOT_PASSED
    return {name: _utf8(text) for name, text in whole.items() if name not in left_out and not name.startswith(_OURS)}


def queue_of(source: Source, receiver: str) -> str:
    """The name of a queue, which no target of our own webhooks has."""
    return f"{source.name}:{receiver}"


def compose(source: str, taken: Taken) -> tuple[bytes, Mapping[str, str]]:
    """What a service gets: the body as it came, the fields that came with it, and what we know besides."""
    ours = {f"{_OURS}source": source, f"{_OURS}attempt": str(taken.tries)}
    if taken.marks:
        ours[MARKS_FIELD] = ", ".join(word for mark, word in _MARKS.items() if mark in taken.marks)
    return taken.body, {**taken.fields, **ours}


def _utf8(text: str) -> str:
    """As a field may be sent and stored: bytes that are no UTF-8 are taken for Latin-1, as they once were (RFC 9110
    §5.5)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape").decode("latin-1")
    return text


def _ask(source: Source) -> Ask | None:
    """What is asked of the store for each of its webhooks. While the store is away it cannot keep any, either."""
    if not source.rate:
        return None
    posture = Posture.ALLOW
    name = f"{LIMIT}{source.name}"
    limit = Limit(name, Algorithm.ROLLING_WINDOW, source.rate, source.per_us, (), on_store_error=posture)
    return Ask([Charge(limit, partition_key(limit, {}), 1)])
