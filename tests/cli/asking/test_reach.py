"""Admin listeners behind TLS: whom commands believe, and what they say when they do not."""

import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.x509.oid import ExtendedKeyUsageOID

from gateway.cli.asking.reach import Reach
from tests.cli.admin import answering
from tests.cli.command import gateway
from tests.fakes.certificates import write_self_signed

LIMITS = {"limits": [], "status": "ready"}


@pytest.fixture
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def port(ca: trustme.CA, tmp_path: Path) -> Iterator[int]:
    """A listener; `shown.pem` is its certificate, `ca.pem` the authority behind it."""
    certificate = ca.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "shown.pem")
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    with answering({"GET": LIMITS}, context) as server:
        yield server.server_address[1]


def settings(folder: Path, port: int, certificate: str) -> Path:
    path = folder / "gateway.yaml"
    path.write_text(
        f"version: 1\nadmin: {{address: '127.0.0.1:{port}', tls: {{certificate: {certificate}, key: {certificate}}}}}\n"
    )
    return path


def test_the_listener_of_the_settings_shows_their_certificate(port: int, tmp_path: Path) -> None:
    done = gateway("limits", "show", "-c", settings(tmp_path, port, "shown.pem"), "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, LIMITS)


def test_another_one_of_the_same_authority_is_not_believed(port: int, tmp_path: Path, ca: trustme.CA) -> None:
    ca.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "other.pem")
    config = settings(tmp_path, port, "other.pem")
    done = gateway("limits", "show", "-c", config)
    assert done.returncode == 3
    assert "its certificate is not trusted: it is not the one in " in done.stderr
    assert "other.pem (renewed?" in done.stderr
    assert "--insecure" in done.stderr
    assert gateway("limits", "show", "-c", config, "--insecure").returncode == 0
    assert gateway("healthcheck", "-c", config).returncode == 0, "a renewed certificate restarts no container"
    assert gateway("healthcheck", "-c", config, "--ca", tmp_path / "ca.pem").returncode == 0


def test_a_listener_elsewhere_is_verified_by_name(port: int, tmp_path: Path) -> None:
    there = ("--admin", f"https://127.0.0.1:{port}")
    assert gateway("limits", "show", *there, "--ca", tmp_path / "ca.pem").returncode == 0
    assert gateway("limits", "show", *there).returncode == 3, "the system does not know this authority"
    assert gateway("limits", "show", *there, "--insecure").returncode == 0
    by_another_name = ("--admin", f"https://localhost:{port}", "--ca", tmp_path / "ca.pem")
    assert "not trusted" in gateway("limits", "show", *by_another_name).stderr
    assert gateway("healthcheck", *there).returncode == 3


def test_who_asks_with_tls_or_without_it_by_mistake_is_told_so(port: int, tmp_path: Path) -> None:
    clear = gateway("limits", "show", "--admin", f"127.0.0.1:{port}")
    assert (clear.returncode, "if it speaks TLS" in clear.stderr) == (3, True)
    with answering({"GET": LIMITS}) as server:
        address = f"127.0.0.1:{server.server_address[1]}"
        for there in (("--admin", f"https://{address}"), ("--admin", address, "--ca", tmp_path / "ca.pem")):
            done = gateway("limits", "show", *there)
            assert (done.returncode, "it does not speak TLS" in done.stderr) == (3, True)


@pytest.mark.parametrize("scheme", ["https", "HTTPS"])
def test_it_may_be_named_in_the_environment(port: int, tmp_path: Path, scheme: str) -> None:
    env = {"GATEWAY_ADMIN": f"{scheme}://127.0.0.1:{port}/"}
    assert gateway("limits", "show", "--ca", tmp_path / "ca.pem", env=env).returncode == 0
    assert "not trusted" in gateway("limits", "show", env=env).stderr
    assert gateway("healthcheck", env=env).returncode == 3, "it need not be this host's own"
    assert gateway("limits", "show", "--admin", "127.0.0.1:1", env=env).returncode == 3, "options go before"


def test_what_is_wrong_with_the_right_certificate_is_said(tmp_path: Path) -> None:
    """As OpenSSL says it: reading the file again would not help."""
    write_self_signed(tmp_path / "own.pem", ExtendedKeyUsageOID.CLIENT_AUTH)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "own.pem")
    with answering({"GET": LIMITS}, context) as server:
        done = gateway("limits", "show", "-c", settings(tmp_path, server.server_address[1], "own.pem"))
    assert "its certificate is not trusted: un" in done.stderr, "unsuitable, or unsupported, certificate purpose"
    assert "renewed" not in done.stderr


@pytest.mark.parametrize(
    "said",
    [
        (1, "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)"),
        (1, "[SSL: RECORD_LAYER_FAILURE] record layer failure (_ssl.c:1029)"),
        (1, "[SSL] record layer failure (_ssl.c:1018)"),
    ],
)
def test_every_openssl_has_its_word_for_no_tls(said: tuple[int, str]) -> None:
    """No machine has them all; a real one is asked above."""
    assert (
        Reach(admin="https://127.0.0.1:1").why(ssl.SSLError(*said)) == "it does not speak TLS, which it was asked with"
    )


@pytest.mark.parametrize("text", ["", "no certificate", None])
def test_authorities_that_cannot_be_read(port: int, tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "bad.pem").write_text(text)
    done = gateway("limits", "show", "--admin", f"https://127.0.0.1:{port}", "--ca", tmp_path / "bad.pem")
    assert done.returncode == 1
    assert f"{tmp_path / 'bad.pem'}: cannot be used" in done.stderr
    done = gateway("limits", "show", "-c", settings(tmp_path, port, "bad.pem"))
    assert done.returncode == 1
    assert "bad.pem" in done.stderr


@pytest.mark.parametrize("given", ["127.0.0.1:19090", "http://127.0.0.1:19090", "HTTP://127.0.0.1:19090/"])
def test_the_listener_may_be_named_as_the_gateway_prints_it_when_it_starts(given: str) -> None:
    listen = Reach(admin=given).listen
    assert (listen.host, listen.port, listen.tls) == ("127.0.0.1", 19090, None)


@pytest.mark.parametrize("said", [{}, {"status": "alive"}, {"status": ["ready"]}])
def test_healthcheck_believes_nobody_else(said: Any) -> None:
    """An address that is wrong by a digit would else be healthy for ever."""
    with answering({"GET": said}) as server:
        done = gateway("healthcheck", "--admin", f"127.0.0.1:{server.server_address[1]}")
        assert (done.returncode, "is not the admin listener" in done.stderr) == (3, True)


def test_healthcheck_waits_for_a_time_that_exists() -> None:
    assert gateway("healthcheck", "--admin", "127.0.0.1:1", "--timeout", "inf").returncode == 2
