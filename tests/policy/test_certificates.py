"""`gateway check` and the files of certificates that policies name: what keeps a gateway from starting is a warning."""

from pathlib import Path

import pytest

from gateway.policy import check
from tests.fakes.certificates import write_pair
from tests.policy.whole import an_upstream

JWT = "type: jwt, issuer: i, audience: a, algorithms: RS256, jwks: 'https://i.example/keys'"
OAUTH = "type: oauth2, token_url: 'https://t.example/token', client_id: a, client_secret: 'env:SECRET'"


def warned(text: str, *, need_secrets: bool = True) -> list[str]:
    Path("p.yaml").write_text(f"version: 1\n{text}")
    report = check([Path("p.yaml")], env={"SECRET": "x"}, need_secrets=need_secrets, look_at_certificates=True)
    assert report.errors == ()
    return [f"{one.position}: {one.message} [{one.code}]" for one in report.warnings]


@pytest.fixture
def pair(directory: Path) -> None:
    write_pair(directory)


@pytest.mark.parametrize(
    ("tls", "said"),
    [
        ("ca_file: cert.pem, certificate: cert.pem, key: key.pem", []),
        ("ca_file: no.pem", ["50: a gateway would not start here: no.pem: No such file or directory"]),
        (
            "certificate: no.pem, key: key.pem",
            ["54: a gateway would not start here: certificate no.pem with key key.pem: No such file or directory"],
        ),
    ],
)
@pytest.mark.usefixtures("pair")
def test_files_of_an_upstream(tls: str, said: list[str]) -> None:
    found = warned(an_upstream(f"url: 'https://a.example', tls: {{{tls}}}"))
    assert found == [f"p.yaml:3:{one} [bad-certificate]" for one in said]
    assert warned(an_upstream(f"url: 'http://a.example', tls: {{{tls}}}")) == [], "nobody opens them"


@pytest.mark.usefixtures("pair")
def test_a_file_without_certificates() -> None:
    (found,) = warned(an_upstream("url: 'https://a.example', tls: {ca_file: p.yaml}"))
    assert found.startswith("p.yaml:3:50: a gateway would not start here: p.yaml: ")


def test_a_key_that_is_encrypted(directory: Path) -> None:
    write_pair(directory, b"a password")
    (found,) = warned(an_upstream("url: 'https://a.example', tls: {certificate: cert.pem, key: key.pem}"))
    assert "certificate cert.pem with key key.pem: the key is encrypted" in found


@pytest.mark.usefixtures("pair")
def test_a_key_need_not_be_where_secrets_need_not_be() -> None:
    text = an_upstream("url: 'https://a.example', tls: {certificate: cert.pem, key: no.pem}")
    assert len(warned(text)) == 1
    assert warned(text, need_secrets=False) == []


@pytest.mark.usefixtures("directory")
def test_authorities_of_issuers_and_token_servers() -> None:
    here = "a gateway would not start here: no.pem: No such file or directory [bad-certificate]"
    upstream = an_upstream("url: 'https://a.example'")
    one = f"credentials:\n  o: {{upstream: api, {OAUTH}, ca_file: no.pem}}\n{upstream}"
    assert [said.partition(" ")[2] for said in warned(one)] == [here]
    scheme = f"authentication:\n  j: {{{JWT}, ca_file: no.pem}}\n{upstream.replace('api}', 'api, authenticate: [j]}')}"
    assert warned(scheme) == [f"p.yaml:3:102: {here}"]


@pytest.mark.usefixtures("directory")
def test_who_loads_a_set_opens_none() -> None:
    Path("p.yaml").write_text("version: 1\n" + an_upstream("url: 'https://a.example', tls: {ca_file: no.pem}"))
    assert check([Path("p.yaml")]).warnings == ()
