"""What upstreams are shown, as it is written: whose credentials, for which upstream, and where the secret is."""

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from gateway.policy.findings import quoted
from gateway.policy.scalars import HeaderName, Unfit
from gateway.policy.secret import is_reference
from gateway.policy.strict import Strict

_REFERENCE = r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$"


def parse_reference(value: object) -> str:
    """`env:NAME` or `file:/path`. The message never has the value: it may be the secret itself."""
    if not isinstance(value, str) or not is_reference(value):
        raise Unfit("inline-secret", "a secret must not stand in the file", "refer to it: env:NAME or file:/path")
    return value


def parse_parameter(value: object) -> str:
    """The name of a query parameter, as it stands in a request."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9._~-]{1,64}", value):
        raise Unfit("bad-name", f"{quoted(value)} is not the name of a parameter", "letters, digits and . _ ~ - only")
    return value


Reference = Annotated[
    str,
    BeforeValidator(parse_reference),
    WithJsonSchema({"type": "string", "title": "Reference to a secret", "pattern": _REFERENCE}),
]
Parameter = Annotated[
    str, BeforeValidator(parse_parameter), WithJsonSchema({"type": "string", "pattern": "^[A-Za-z0-9._~-]{1,64}$"})
]


class _Credential(Strict):
    upstream: str = Field(description="the only one that is shown them")
    match: dict[str, str] = Field(default={}, max_length=8, description="values of key parts; all must be equal")


class HeaderCredential(_Credential):
    """A header field of any name."""

    type: Literal["header"]
    name: HeaderName
    value: Reference
    prefix: str = Field(default="", max_length=64, description='in front of the secret, like "Token "')


class BearerCredential(_Credential):
    """`Authorization: Bearer`, with a token that does not expire (RFC 6750)."""

    type: Literal["bearer"]
    token: Reference


class BasicCredential(_Credential):
    """`Authorization: Basic` (RFC 7617)."""

    type: Literal["basic"]
    username: str = Field(min_length=1, description="may be a reference too")
    password: Reference


class QueryCredential(_Credential):
    """A query parameter. Header fields are better: targets are logged in many places."""

    type: Literal["query"]
    name: Parameter
    value: Reference


Credential = Annotated[
    HeaderCredential | BearerCredential | BasicCredential | QueryCredential, Field(discriminator="type")
]
