"""Fields that say who is calling."""

import pytest

from gateway.core.cache.personal import ANYBODY, Personal, named_like_credentials
from tests.core.cache.cache_cases import fields


@pytest.mark.parametrize(
    "name",
    [
        "authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "apikey", "x_api_key", "x-apikey-id",
        "ocp-apim-subscription-key", "x-auth-token", "x-access-token", "private-token", "x-amz-security-token", "dd-api-key",
        "x-csrf-token", "x-session-id", "x-auth-request-email", "x-user-password", "secret", "x-client-secret", "x-jwt",
        "x-goog-iap-jwt-assertion", "x-hub-signature", "x-ssl-client-cert", "impersonate-user", "x-remote-user", "remote_user",
        "x-functions-key", "x-credentials", "x-bearer", "x-amzn-oidc-identity", "x-consumer-username", "x-ms-client-principal",
        "x-userinfo", "x" * 100 + "-key",
    ],
)  # fmt: skip
def test_names_of_credentials(name: str) -> None:
    assert named_like_credentials(name.encode())


@pytest.mark.parametrize(
    "name",
    [
        "accept", "accept-encoding", "accept-language", "user-agent", "host", "connection", "keep-alive", "x-request-id",
        "x-tenant-id", "x-connection-id", "x-correlation-id", "traceparent", "if-none-match", "range", "cache-control",
        "idempotency-key", "x-idempotency-key", "sec-websocket-key", "sec-fetch-user", "dnt", "priority", "referer", "origin",
        "x" * 100, "x-requested-with", "content-type", "x-client-version", "x-user-id", "pragma",
    ],
)  # fmt: skip
def test_names_of_other_things(name: str) -> None:
    assert not named_like_credentials(name.encode())


def test_what_a_request_says_by_its_fields() -> None:
    request = fields("Accept: a", "X-API-Key: b", "cookie: c", "Cookie: d", "X-Partner: e")
    assert ANYBODY.of(request) == {b"x-api-key", b"cookie"}
    assert ANYBODY.of(()) == frozenset()
    own = Personal(also=frozenset({b"x-partner"}), exempt=frozenset({b"cookie"}))
    assert own.of(request) == {b"x-api-key", b"x-partner"}
    assert Personal(frozenset({b"x-a"}), frozenset({b"x-a"})).of(fields("X-A: b")) == frozenset()
