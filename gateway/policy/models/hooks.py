"""Webhooks as the settings have them: who is told of what."""

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, WithJsonSchema

from gateway.core.webhooks.receivers import TOLD
from gateway.policy.findings import quoted
from gateway.policy.models.credentials import Reference
from gateway.policy.models.networks import Network
from gateway.policy.models.scalars import NAME, Duration, Unfit, Units, expect_text, parse_host
from gateway.policy.models.strict import Items, Strict
from gateway.policy.words import did_you_mean

Name = Annotated[str, Field(pattern=f"^{NAME}$")]


def parse_receiver_url(value: object) -> str:
    """`https://host[:port]/path?query`. The message never has the value: there may be a secret in it."""
    text = expect_text(value, "a URL like https://hooks.example.com/gateway")
    if "@" in text.partition("?")[0] or "#" in text:
        raise Unfit("inline-secret", "the URL of a receiver holds no user, no password and no fragment")
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        url, port = urlsplit(""), None
    if url.scheme not in ("http", "https") or not url.hostname or port == 0 or not re.fullmatch(r"[!-~]+", text):
        hint = "write it like https://hooks.example.com/gateway"
        raise Unfit("bad-url", "this is not the URL of a receiver", hint)
    parse_host(url.hostname)
    return text


def parse_event(value: object) -> str:
    """The name of an event, or a pattern like `breaker.*` that means some."""
    text = expect_text(value, "the name of an event like connection.offline")
    known = {*TOLD, *(f"{name.partition('.')[0]}.*" for name in TOLD), "*"}
    if text not in known:
        raise Unfit("unknown-event", f"nobody is told of {quoted(text)}", did_you_mean(text, sorted(known)))
    return text


ReceiverUrl = Annotated[
    str, BeforeValidator(parse_receiver_url), WithJsonSchema({"type": "string", "pattern": "^https?://"})
]
Event = Annotated[
    str,
    BeforeValidator(parse_event),
    WithJsonSchema({"type": "string", "examples": ["connection.*", "breaker.opened"]}),
]
Pattern = Annotated[str, Field(min_length=1, max_length=256)]


class Keep(Strict):
    """What was delivered, for a while."""

    for_: Duration = Field(alias="for")
    at_most: Annotated[Units, Field(le=100_000)] = 10_000


class Target(Strict):
    """Who is told of events."""

    url: ReceiverUrl
    secrets: Items[Reference] = Field(min_length=1, max_length=2, description="to sign with, the newest first")
    events: Items[Event] = ("*",)
    connections: Items[Pattern] = Field(default=("*",), description="of events about connections only those")
    timeout: Duration = 10_000_000
    concurrency: Annotated[Units, Field(le=64)] = 4
    give_up: Duration = 86_400_000_000
    ca_file: str = ""
    keep: Keep | None = None


class Webhooks(Strict):
    """Events told to others."""

    targets: dict[Name, Target] = Field(default={}, max_length=100)
    allow: Items[Network] = ()
    most_waiting: Units = 10_000
