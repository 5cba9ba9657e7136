"""Public keys from PEM and JWK texts (RFC 7468, RFC 7517), and which algorithms each may be used with.

The algorithm follows from the key, never from the token: a public key cannot become the secret of an HMAC.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

MAX_KEYS = 100
RSA_BITS = range(2048, 8193)  # RFC 7518 §3.3 below; above, one signature costs milliseconds
_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_READERS: Mapping[str, Any] = {"RSA": RSAAlgorithm, "EC": ECAlgorithm, "OKP": OKPAlgorithm}


class BadKeys(Exception):
    """A text that holds no usable public key. The message says why, without any of the text."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One key. `kid` None = it has no name and may have signed any token of a fitting algorithm."""

    kid: str | None
    algorithms: frozenset[str]
    key: Any


def read_keys(text: str) -> tuple[PublicKey, ...]:
    """The public keys and certificates of a PEM text, or of a JWK or a JWK set. Raises BadKeys."""
    return tuple(_from_pem(text)) if "-----BEGIN " in text else read_jwks(text.encode("utf-8", "replace"))


def read_jwks(content: bytes) -> tuple[PublicKey, ...]:
    """The usable keys of a JWK set (RFC 7517 §5: those that are not understood are passed over). Raises BadKeys."""
    try:
        document = orjson.loads(content)
    except ValueError:
        raise BadKeys("not JSON") from None
    entries = document.get("keys", [document]) if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise BadKeys("not a JWK set")
    if len(entries) > MAX_KEYS:
        raise BadKeys(f"more than {MAX_KEYS} keys")
    keys = tuple(key for entry in entries if isinstance(entry, dict) and (key := _from_jwk(entry)) is not None)
    if not keys:
        raise BadKeys("no usable public key")
    return keys


def _from_pem(text: str) -> Iterator[PublicKey]:
    found = False
    for block in _PEM.finditer(text):
        found = True
        if "PRIVATE" in block[1]:
            raise BadKeys("a private key: only the public part belongs here")
        pem = block[0].encode("ascii", "replace")
        try:
            is_certificate = block[1] == "CERTIFICATE"
            key = x509.load_pem_x509_certificate(pem).public_key() if is_certificate else load_pem_public_key(pem)
        except Exception:  # cryptography raises many kinds
            raise BadKeys("a damaged PEM block") from None
        algorithms = _algorithms(key)
        if not algorithms:
            raise BadKeys("a key of a kind or size that no token may be signed with")
        yield PublicKey(None, algorithms, key)
    if not found:
        raise BadKeys("a damaged PEM block")


def _from_jwk(entry: Mapping[str, Any]) -> PublicKey | None:
    """None for keys of no use: for encryption, symmetric, with a private part, weak, or not understood."""
    reader = _READERS.get(str(entry.get("kty")))
    operations, algorithm = entry.get("key_ops", ["verify"]), entry.get("alg")
    if reader is None or "d" in entry or entry.get("use", "sig") != "sig":
        return None
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    try:
        algorithms = _algorithms(key := reader.from_jwk(dict(entry)))
    except Exception:  # PyJWT and cryptography raise many kinds
        return None
    if algorithm is not None:
        algorithms &= {str(algorithm)}
    kid = entry.get("kid")
    return PublicKey(kid if isinstance(kid, str) else None, algorithms, key) if algorithms else None


def _algorithms(key: Any) -> frozenset[str]:
    """What the key may be used with; empty when nothing."""
    if isinstance(key, rsa.RSAPublicKey):
        return _RSA if key.key_size in RSA_BITS else frozenset()
    if isinstance(key, ec.EllipticCurvePublicKey):
        name = _CURVES.get(key.curve.name)
        return frozenset({name}) if name else frozenset()
    return frozenset({"EdDSA"}) if isinstance(key, ed25519.Ed25519PublicKey) else frozenset()
