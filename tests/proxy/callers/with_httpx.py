"""httpx, told what to call on stdin. The protocol is that of `Caller` in test_real_callers.py."""

import hashlib
import json
import sys
from collections.abc import Iterator

import httpx


def upload(order: dict) -> bytes | Iterator[bytes] | None:
    size = order["upload"]
    if not order["chunked"]:
        return b"u" * size if size else None
    return (b"u" * (size // 4) for _ in range(4))


def tell(**what: object) -> None:
    print(json.dumps(what), flush=True)  # noqa: T201


client = httpx.Client(trust_env=False, timeout=30)
for line in sys.stdin:
    order = json.loads(line)
    with client.stream(order["method"], order["url"], content=upload(order)) as answer:
        tell(status=answer.status_code, headers=dict(answer.headers))
        digest = hashlib.sha256()
        for piece in answer.iter_bytes():
            digest.update(piece)
            tell(piece=piece[:500].decode("latin-1"))
    tell(sha256=digest.hexdigest())
