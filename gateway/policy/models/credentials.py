"""What upstreams are shown, as it is written: whose credentials, for which upstream, and where the secret is."""

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from gateway.policy.findings import quoted
from gateway.policy.models.remote_url import parse_remote_url
from gateway.policy.models.scalars import HeaderName, OneOrMore, Unfit, expect_text
from gateway.policy.models.strict import Strict
from gateway.policy.secret import is_reference

_REFERENCE = r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$"


def parse_reference(value: object) -> str:
    """`env:NAME` or `file:/path`. The message never has the value: it may be the secret itself."""
    if not isinstance(value, str) or not is_reference(value):
        raise Unfit("inline-secret", "a secret must not be written in the file", "refer to it: env:NAME or file:/path")
    return value


def parse_parameter(value: object) -> str:
    """The name of a query parameter, as it stands in a request."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9._~-]{1,64}", value):
        raise Unfit("bad-name", f"{quoted(value)} is not the name of a parameter", "letters, digits and . _ ~ - only")
    return value


def parse_token_url(value: object) -> str:
    """Where tokens are asked for."""
    return parse_remote_url(
        value, "https://login.example.com/oauth/token", "secrets sent over http can be read by anybody on the way"
    )


def parse_scope(value: object) -> str:
    """One scope (RFC 6749 §3.3)."""
    text = expect_text(value, "a scope like orders.read")
    if not re.fullmatch(r"[!#-\[\]-~]{1,256}", text):
        raise Unfit("bad-value", f"{quoted(text)} is not a scope", "several of them are a list")
    return text


Reference = Annotated[
    str,
    BeforeValidator(parse_reference),
    WithJsonSchema({"type": "string", "title": "Reference to a secret", "pattern": _REFERENCE}),
]
Parameter = Annotated[
    str, BeforeValidator(parse_parameter), WithJsonSchema({"type": "string", "pattern": "^[A-Za-z0-9._~-]{1,64}$"})
]


TokenUrl = Annotated[
    str, BeforeValidator(parse_token_url), WithJsonSchema({"type": "string", "title": "URL", "pattern": "^https?://"})
]
Scope = Annotated[
    str, BeforeValidator(parse_scope), WithJsonSchema({"type": "string", "pattern": "^[!#-\\[\\]-~]{1,256}$"})
]
TOKEN_KEYS = "GATEWAY_TOKEN_KEYS"
"""The environment variable with the keys that tokens are sealed with, unless an entry names another place."""


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


class OAuthCredential(_Credential):
    """A token that the gateway gets, and renews, from an authorization server (RFC 6749)."""

    type: Literal["oauth2"]
    grant: Literal["client_credentials", "refresh_token"] = "client_credentials"
    token_url: TokenUrl
    client_id: str = Field(min_length=1, description="may be a reference too")
    client_secret: Reference = Field(default="", description="a must for client_credentials")
    refresh_token: Reference = Field(default="", description="the first one, for grant: refresh_token")
    scope: OneOrMore[Scope] = ()
    parameters: dict[Parameter, str] = Field(
        default={}, max_length=16, description="further ones of the form, like audience; values may be references"
    )
    client_auth: Literal["basic", "post"] = Field(default="basic", description="Authorization: Basic, or in the form")
    ca_file: str = Field(default="", description="PEM file that verifies the server of tokens")
    name: HeaderName = Field(default="authorization", description="the field that carries the token")
    prefix: str = Field(default="Bearer ", max_length=64, description="in front of the token")
    token_keys: Reference = Field(
        default="", description=f"keys that tokens are sealed with in the store; default: env:{TOKEN_KEYS}"
    )


Credential = Annotated[
    HeaderCredential | BearerCredential | BasicCredential | QueryCredential | OAuthCredential,
    Field(discriminator="type"),
]
