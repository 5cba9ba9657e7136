"""When a certificate ends. Python's `ssl` tells it of the other side's only, not of our own.

Reads no more of the encoding (DER, X.690) than leads to `notAfter` (RFC 5280 §4.1).
"""

import re
from binascii import a2b_base64
from datetime import UTC, datetime

_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)
_VERSION = 0xA0
_GENERALIZED_TIME = 0x18
_CENTURY_TURNS = 50  # RFC 5280 §4.1.2.5.1: two digits below are of this century


def chain_ends_s(pem: bytes) -> int | None:
    """Seconds since 1970 when the first certificate of a chain ends, for the chain is of no use then.

    None when there is none. Raises ValueError for one that cannot be read.
    """
    return min((_not_after_s(a2b_base64(block)) for block in _BLOCK.findall(pem)), default=None)


def _not_after_s(der: bytes) -> int:
    at = _inside(der, _inside(der, 0))  # Certificate, TBSCertificate
    if der[at : at + 1] == bytes([_VERSION]):
        at = _behind(der, at)
    for _ in ("serialNumber", "signature", "issuer"):
        at = _behind(der, at)
    at = _behind(der, _inside(der, at))  # of validity, notBefore
    text = der[_inside(der, at) : _behind(der, at)].decode("ascii")
    if der[at] != _GENERALIZED_TIME:
        text = f"{'20' if int(text[:2]) < _CENTURY_TURNS else '19'}{text}"
    return int(datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp())


def _inside(der: bytes, at: int) -> int:
    """Where the content of the element at `at` begins."""
    return _content(der, at)[0]


def _behind(der: bytes, at: int) -> int:
    """Where the next element begins."""
    start, length = _content(der, at)
    return start + length


def _content(der: bytes, at: int) -> tuple[int, int]:
    """(where it begins, how many bytes it has)."""
    if at + 2 > len(der):
        raise ValueError("the certificate is cut short")
    length = der[at + 1]
    if length < 0x80:
        return at + 2, length
    size = length & 0x7F
    return at + 2 + size, int.from_bytes(der[at + 2 : at + 2 + size])
