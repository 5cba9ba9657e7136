"""How a browser that has shown the admin token once is known afterwards: a signed cookie, and nothing kept here.

The cookie never holds the token: cookies do not know ports, so other servers of the same host name are sent it too.
It holds when it ends, and a MAC that only who has the token can make. So any worker of any gateway with this token
takes it, it outlives restarts, and another token ends all sessions.
"""

import hashlib
import hmac
import secrets
import time
from functools import lru_cache

from aiohttp import web

NAME, SECURE_NAME = "gateway-admin", "__Host-gateway-admin"
LIFE_S = 12 * 3600
_SALT = b"gateway admin session, version 1"


@lru_cache(maxsize=4)
def _key(token: bytes) -> bytes:
    """Slow on purpose: whoever has got hold of a cookie cannot try many tokens (scrypt, RFC 7914)."""
    return hashlib.scrypt(token, salt=_SALT, n=1 << 14, r=8, p=1, dklen=32)


def issued(token: bytes, now_s: float) -> str:
    """A value that `holds` until LIFE_S from now."""
    text = f"{int(now_s) + LIFE_S}.{secrets.token_urlsafe(12)}"
    return f"{text}.{_mac(token, text)}"


def holds(token: bytes, value: str, now_s: float) -> bool:
    """Whether the value was issued for this token, and has not ended."""
    text, _, mac = value.rpartition(".")
    ends, _, _ = text.partition(".")
    if not (ends.isascii() and ends.isdigit() and len(ends) < 16 and mac.isascii()):
        return False
    return now_s < int(ends) <= now_s + LIFE_S + 60 and hmac.compare_digest(mac, _mac(token, text))


def _mac(token: bytes, text: str) -> str:
    return hmac.new(_key(token), text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def let_in(request: web.Request, token: bytes) -> bool:
    """Whether the request shows a cookie that holds."""
    value = request.cookies.get(SECURE_NAME if request.secure else NAME, "")
    return bool(value) and holds(token, value, time.time())


def begin(request: web.Request, response: web.StreamResponse, token: bytes) -> None:
    """Give the browser a cookie: not for scripts, not for requests from other sites, over TLS only if it came so."""
    value, name = issued(token, time.time()), SECURE_NAME if request.secure else NAME
    response.set_cookie(name, value, max_age=LIFE_S, path="/", httponly=True, samesite="Strict", secure=request.secure)


def end(response: web.StreamResponse) -> None:
    """Have the browser forget it."""
    for name in (NAME, SECURE_NAME):
        response.set_cookie(name, "", max_age=0, path="/", httponly=True, samesite="Strict", secure=name == SECURE_NAME)
