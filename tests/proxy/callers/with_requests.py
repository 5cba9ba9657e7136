"""requests, told what to call on stdin. The protocol is that of `Caller` in test_real_callers.py."""

import hashlib
import json
import sys
from collections.abc import Iterator

import requests


def upload(order: dict) -> bytes | Iterator[bytes] | None:
    size = order["upload"]
    if not order["chunked"]:
        return b"u" * size if size else None
    return (b"u" * (size // 4) for _ in range(4))  # no length known: requests sends it in chunks


def tell(**what: object) -> None:
    print(json.dumps(what), flush=True)  # noqa: T201


session = requests.Session()
session.trust_env = False
for line in sys.stdin:
    order = json.loads(line)
    with session.request(
        order["method"], order["url"], data=upload(order), stream=True, allow_redirects=False, timeout=30
    ) as answer:
        tell(status=answer.status_code, headers={name.lower(): value for name, value in answer.headers.items()})
        digest = hashlib.sha256()
        for piece in answer.iter_content(None):
            digest.update(piece)
            tell(piece=piece[:500].decode("latin-1"))
    tell(sha256=digest.hexdigest())
