"""The intake as the settings have it: who sends webhooks, how that is checked, and who gets them."""

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from gateway.policy.findings import quoted
from gateway.policy.models.credentials import Reference
from gateway.policy.models.hooks import Keep, Name, ReceiverUrl
from gateway.policy.models.scalars import Duration, HeaderName, Size, Unfit, Units, expect_text
from gateway.policy.models.strict import Items, Strict

_POINTER = re.compile(r"(/([^/~]|~[01])*){1,16}").fullmatch
_HEADER = re.compile(r"header:[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}").fullmatch
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+){1,8}").fullmatch


def parse_somewhere(value: object) -> str:
    """`header:X-Key`, or a JSON pointer into the body."""
    text = expect_text(value, "a place like /data/id")
    if not (_POINTER(text) or _HEADER(text)) or len(text) > 256:
        hint = "write it like /data/object/id (a JSON pointer) or header:X-Key"
        raise Unfit("bad-place", f"{quoted(text)} is not a place in a webhook", hint)
    return text


def parse_intake_path(value: object) -> str:
    """`/hooks`: plain segments."""
    text = expect_text(value, "a path like /hooks")
    if not _PATH(text) or any(segment in (".", "..") for segment in text.split("/")):
        raise Unfit("bad-path", f"{quoted(text)} is not a path for webhooks", "write it like /hooks")
    return text


Somewhere = Annotated[
    str, BeforeValidator(parse_somewhere), WithJsonSchema({"type": "string", "pattern": "^(/|header:)"})
]
IntakePath = Annotated[
    str, BeforeValidator(parse_intake_path), WithJsonSchema({"type": "string", "pattern": "^(/[A-Za-z0-9._~-]+)+$"})
]


class Rate(Strict):
    """So many webhooks in so much time."""

    limit: Units
    window: Duration


class Service(Strict):
    """Who gets the webhooks of a source."""

    url: ReceiverUrl
    secrets: Items[Reference] = Field(default=(), max_length=2)
    timeout: Duration = 10_000_000
    concurrency: Annotated[Units, Field(le=64)] = 16
    give_up: Duration = 86_400_000_000
    ca_file: str = ""
    keep: Keep | None = None


class Source(Strict):
    """Somebody who sends webhooks."""

    verify: Literal["standard", "hmac", "basic"]
    secrets: Items[Reference] = Field(min_length=1, max_length=2, description="the newest first; any of them is right")
    signature_header: HeaderName = "X-Signature"
    prefix: str = Field(default="", max_length=32, pattern=r"^[!-~]*$")
    encoding: Literal["hex", "base64"] = "hex"
    id_header: HeaderName | None = None
    timestamp_header: HeaderName | None = None
    tolerance: Duration = 300_000_000
    late_after: Duration = 60_000_000
    order_by: Somewhere | None = None
    place: Somewhere | None = None
    body: Size = 1024 * 1024
    time: Duration = 10_000_000
    remember: Duration = 259_200_000_000
    most_waiting: Units = 100_000
    rate: Rate | None = None
    to: dict[Name, Service] = Field(min_length=1, max_length=16)


class Intake(Strict):
    """Webhooks of others."""

    path: IntakePath = "/hooks"
    sources: dict[Name, Source] = Field(default={}, max_length=1000)
