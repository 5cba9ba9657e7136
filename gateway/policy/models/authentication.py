"""Schemes of authentication as they are written: API keys by their hashes, tokens by their issuer."""

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from gateway.policy.models.remote_url import parse_remote_url
from gateway.policy.models.scalars import NAME, Duration, HeaderName, OneOrMore, Unfit, Wait, described, expect_text
from gateway.policy.models.strict import Items, Strict

_HASH = re.compile(r"(?:blake2b|sha256):[0-9a-f]{64}").fullmatch
_HASH_PATTERN = r"^(blake2b|sha256):[0-9a-f]{64}$"
SYMMETRIC = ("HS256", "HS384", "HS512")
Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512"
]


def parse_hash(value: object) -> str:
    """`blake2b:` or `sha256:` and 64 hex digits. The message never has the value: it may be the key itself."""
    if not isinstance(value, str) or not _HASH(value.lower()):
        raise Unfit("inline-secret", "this is not the hash of an API key", "make one with: gateway hash-key")
    return value.lower()


def parse_claim(value: object) -> tuple[str, ...]:
    """One text or a list of them."""
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(one, str) and one for one in values):
        raise Unfit("wrong-type", f"expected text or a list of texts, got {described(value)}", "put it in quotes")
    return tuple(values)


def parse_key_set_url(value: object) -> str:
    """Where a key set is fetched. Whoever could change it on the way could sign."""
    return parse_remote_url(value, "https://login.example.com/jwks.json", "keys fetched over http could be anybody's")


def parse_required(value: object) -> str:
    """A value that a claim must have. It may be repeated to callers in a header field."""
    text = expect_text(value, "text")
    if not re.fullmatch(r"[ !#-\[\]-~]+", text):
        raise Unfit("bad-value", "a required value is ASCII text without quotes and backslashes")
    return text


KeyHash = Annotated[
    str, BeforeValidator(parse_hash), WithJsonSchema({"type": "string", "title": "Hash", "pattern": _HASH_PATTERN})
]
Required = Annotated[str, BeforeValidator(parse_required)]
_TEXTS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
Claim = Annotated[tuple[str, ...], BeforeValidator(parse_claim), WithJsonSchema({"title": "Claim", **_TEXTS})]
KeySetUrl = Annotated[
    str,
    BeforeValidator(parse_key_set_url),
    WithJsonSchema({"type": "string", "title": "URL", "pattern": "^https?://"}),
]


class ApiKeyEntry(Strict):
    """One key that was handed out, and what it vouches for."""

    id: str = Field(default="", pattern=rf"^{NAME}$", description="names the key in logs; default: begin of its hash")
    hash: KeyHash = Field(description="from `gateway hash-key`; the key itself stands nowhere")
    claims: dict[str, Claim] = Field(default={}, description="values of key parts, and what routes `require`")


class ApiKeys(Strict):
    """Callers show a key that they were given."""

    type: Literal["api_keys"]
    header: HeaderName = Field(default="x-api-key", description="Authorization: as a bearer token")
    keys: Items[ApiKeyEntry] = ()
    file: str = Field(default="", description="YAML file with a list of further keys")
    pepper: str = Field(default="", description="secret that the hashes were made with: env:NAME or file:/path")
    forward_credentials: bool = Field(default=False, description="whether the upstream gets to see the key")


class Jwt(Strict):
    """Callers show a token that an issuer signed (RFC 7519). Exactly one of jwks, keys and secret."""

    type: Literal["jwt"]
    header: HeaderName = Field(default="authorization", description="Authorization: as a bearer token")
    issuer: str = Field(min_length=1)
    audience: OneOrMore[str]
    algorithms: OneOrMore[Algorithm]
    jwks: KeySetUrl = Field(default="", description="the issuer's key set, fetched and kept fresh")
    ca_file: str = Field(default="", description="PEM file that verifies the server of the key set")
    refresh: Duration = 300_000_000
    keys: OneOrMore[str] = Field(default=(), description="files with public keys: PEM or JWK")
    secret: str = Field(default="", description="for HS256 and its like: env:NAME or file:/path")
    leeway: Wait = Field(default=30_000_000, description="how far the issuer's clock may be off")
    forward_credentials: bool = Field(default=False, description="whether the upstream gets to see the token")


Scheme = Annotated[ApiKeys | Jwt, Field(discriminator="type")]
