"""When certificates end, as another reader of them says it too."""

from base64 import encodebytes
from datetime import UTC, datetime, timedelta

import pytest
import trustme
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.certificate import chain_ends_s

CA = trustme.CA()
NOW = datetime.now(UTC)


def issued(days: int) -> bytes:
    return CA.issue_cert("a.example", not_after=NOW + timedelta(days=days)).cert_chain_pems[0].bytes()


@pytest.mark.parametrize("days", [1, 400, 40 * 365, 100 * 365])
def test_it_is_what_another_library_says(days: int) -> None:
    """From 2050 on the time is written in another form."""
    pem = issued(days)
    ends = x509.load_pem_x509_certificate(pem).not_valid_after_utc
    assert chain_ends_s(pem) == int(ends.timestamp())


def test_a_chain_ends_with_the_first_of_its_certificates() -> None:
    soon, later = issued(3), issued(90)
    key = CA.issue_cert("b.example").private_key_pem.bytes()
    assert chain_ends_s(later + key + soon) == chain_ends_s(soon)


def test_a_certificate_of_the_first_version_has_no_version() -> None:
    """Made by hand: no library issues them any more."""
    times = b"\x17\x0d490101000000Z" + b"\x17\x0d500101000000Z"
    inner = b"\x02\x01\x01" + b"\x30\x00" + b"\x30\x00" + bytes([0x30, len(times)]) + times
    outer = bytes([0x30, len(inner)]) + inner
    der = bytes([0x30, len(outer)]) + outer
    assert chain_ends_s(pem(der)) == datetime(1950, 1, 1, tzinfo=UTC).timestamp()


def pem(der: bytes) -> bytes:
    return b"-----BEGIN CERTIFICATE-----\n" + encodebytes(der) + b"-----END CERTIFICATE-----\n"


def test_without_certificates_nothing_ends() -> None:
    assert chain_ends_s(b"") is None


@given(st.binary(max_size=40))
def test_what_is_no_certificate_is_an_error_and_nothing_else(der: bytes) -> None:
    with pytest.raises(ValueError):
        chain_ends_s(pem(der))
