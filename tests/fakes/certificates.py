"""Certificates with their keys, in files."""

from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)


def write_pair(folder: Path, password: bytes = b"") -> None:
    """`cert.pem` and `key.pem`; with a password the key is encrypted."""
    issued = trustme.CA().issue_cert("client.example")
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    key = issued.private_key_pem.bytes()
    if password:
        encryption = BestAvailableEncryption(password)
        key = load_pem_private_key(key, None).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    (folder / "key.pem").write_bytes(key)
