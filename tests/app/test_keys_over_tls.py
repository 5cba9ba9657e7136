"""An issuer's key set comes over TLS that is verified, with the CA file that the policy names and no other."""

import ssl
from pathlib import Path

import pytest
import trustme

from gateway.listener.tls import Certificates
from gateway.reload.certificates import reload_certificates
from tests.app.conftest import Running, Start
from tests.fakes.issuer import ISSUER, Issuer, jwk, token
from tests.fakes.upstream import Upstream
from tests.fakes.waiting import eventually

CA, OTHER_CA = trustme.CA(), trustme.CA()
POLICIES = """
version: 1
authentication:
  staff: {type: jwt, issuer: "%s", audience: orders-api, algorithms: [RS256], jwks: "%s"%s}
keys: {tenant: {from: jwt, claim: org_id, on_missing: reject}}
limits: {tenant-10m: {algorithm: rolling_window, limit: 5, window: 10m, key: [tenant]}}
upstreams: {up: {url: "%s"}}
routes: [{name: all, match: {path_prefix: /}, upstream: up, authenticate: [staff], limits: [tenant-10m]}]
"""


def issuer(ca: trustme.CA, *names: str) -> Issuer:
    """One whose certificate this CA issued for these names."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert(*names).configure_cert(context)
    return Issuer([jwk("k1")], tls=context)


async def ask(gateway: Running) -> bytes:
    lines = (
        b"GET / HTTP/1.1",
        b"Host: a",
        b"Connection: close",
        b"Authorization: Bearer " + token().encode(),
        b"",
        b"",
    )
    return await gateway.raw(b"\r\n".join(lines))


@pytest.fixture
def ca_file(tmp_path: Path) -> str:
    """A policy's option that names CA's certificate."""
    CA.cert_pem.write_to_path(tmp_path / "ca.pem")
    return f', ca_file: "{tmp_path / "ca.pem"}"'


async def test_keys_of_an_issuer_with_a_certificate_of_the_named_ca(
    start: Start, upstream: Upstream, ca_file: str
) -> None:
    async with issuer(CA, "localhost") as published:
        gateway = await start(POLICIES % (ISSUER, published.url, ca_file, upstream.url))
        answer = await ask(gateway)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert published.fetches == 1
    assert [record.tenant for record in gateway.records.all] == ["acme"]


@pytest.mark.parametrize(
    ("ca", "name", "named"),
    [
        (OTHER_CA, "localhost", True),  # the named CA is the only one
        (CA, "other.example", True),  # a certificate for somebody else
        (CA, "localhost", False),  # nothing named: the system's CAs, which do not know this one
    ],
)
async def test_keys_of_anybody_else_are_not_believed(
    start: Start, upstream: Upstream, ca_file: str, ca: trustme.CA, name: str, named: bool
) -> None:
    async with issuer(ca, name) as published:
        gateway = await start(POLICIES % (ISSUER, published.url, ca_file if named else "", upstream.url))
        answer = await ask(gateway)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b'"code":"AUTHENTICATION_UNAVAILABLE"' in answer
    assert published.fetches == 0
    assert upstream.received == []


async def test_another_authority_in_the_named_file_is_believed_when_it_is_read_again(
    start: Start, upstream: Upstream, ca_file: str, tmp_path: Path
) -> None:
    OTHER_CA.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with issuer(CA, "localhost") as published:
        gateway = await start(POLICIES % (ISSUER, published.url, ca_file, upstream.url))
        CA.cert_pem.write_to_path(tmp_path / "ca.pem")
        reload_certificates(Certificates(), [gateway.gateway.authenticator])
        await published.fetched(1)

        async def believed() -> bool:
            return (await ask(gateway)).startswith(b"HTTP/1.1 200 ")

        await eventually(believed, "its keys to be read")


async def test_an_issuer_without_tls_is_not_asked(start: Start, upstream: Upstream, ca_file: str) -> None:
    async with Issuer([jwk("k1")]) as published:
        url = published.url.replace("http://", "https://")
        gateway = await start(POLICIES % (ISSUER, url, ca_file, upstream.url))
        answer = await ask(gateway)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert published.fetches == 0
