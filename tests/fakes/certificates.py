"""Certificates with their keys, in files."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)


def write_self_signed(path: Path, purpose: x509.ObjectIdentifier) -> None:
    """A certificate that is good for this alone, and its key."""
    key, name = generate_private_key(SECP256R1()), x509.Name([])
    began = datetime.now(UTC) - timedelta(days=1)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(began)
        .not_valid_after(began + timedelta(days=90))
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .sign(key, SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(private + certificate.public_bytes(Encoding.PEM))


def write_pair(folder: Path, password: bytes = b"") -> None:
    """`cert.pem` and `key.pem`; with a password the key is encrypted."""
    issued = trustme.CA().issue_cert("client.example")
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    key = issued.private_key_pem.bytes()
    if password:
        encryption = BestAvailableEncryption(password)
        key = load_pem_private_key(key, None).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    (folder / "key.pem").write_bytes(key)
