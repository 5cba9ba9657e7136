"""An issuer of tokens on a real socket: signs with keys of its own, publishes the public parts, rotates and fails."""

import asyncio
import json
import ssl
import time
from dataclasses import dataclass, field
from functools import cache
from types import TracebackType
from typing import Any, Self

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

ISSUER = "https://issuer.example/"
AUDIENCE = "orders-api"
_CURVES: dict[str, ec.EllipticCurve] = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
_KINDS: dict[str, Any] = {"RS": RSAAlgorithm, "PS": RSAAlgorithm, "ES": ECAlgorithm, "Ed": OKPAlgorithm}


def private_key(kid: str, algorithm: str = "RS256") -> PrivateKeyTypes:
    """One key for each name and kind, made when it is first asked for."""
    return _made(kid, "RSA" if algorithm[:2] in ("RS", "PS") else algorithm)


@cache
def _made(kid: str, algorithm: str) -> PrivateKeyTypes:
    if algorithm == "RSA":
        return rsa.generate_private_key(public_exponent=65537, key_size=1024 if kid == "weak" else 2048)
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(_CURVES[algorithm])


def public_pem(kid: str, algorithm: str = "RS256") -> str:
    public: Any = private_key(kid, algorithm).public_key()
    return str(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def private_pem(kid: str) -> str:
    return private_key(kid).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def jwk(kid: str, algorithm: str = "RS256", **more: Any) -> dict[str, Any]:
    """The public part as the key set has it."""
    entry = json.loads(_KINDS[algorithm[:2]].to_jwk(private_key(kid, algorithm).public_key()))
    entry.pop("key_ops", None)
    return {**entry, "kid": kid, "use": "sig", **more}


def claims(**changes: Any) -> dict[str, Any]:
    """What a good token says. A change to None leaves that claim out."""
    now = int(time.time())
    said = {"iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + 3600, "sub": "u1", "org_id": "acme", **changes}
    return {name: value for name, value in said.items() if value is not None}


def token(
    kid: str | None = "k1", algorithm: str = "RS256", *, header: dict[str, Any] | None = None, **changes: Any
) -> str:
    """A token signed with the key of that name."""
    headers = {**({"kid": kid} if kid else {}), **(header or {})}
    return jwt.encode(claims(**changes), private_key(kid or "k1", algorithm), algorithm, headers)  # type: ignore[arg-type]


@dataclass
class Issuer:
    """Publishes `keys` at `url`. `answer` replaces what it publishes; `held` keeps it from answering until set.

    With `tls` it speaks HTTPS and calls itself localhost.
    """

    keys: list[dict[str, Any]] = field(default_factory=list)
    answer: web.Response | None = None
    held: asyncio.Event | None = None
    tls: ssl.SSLContext | None = None
    fetches: int = 0
    url: str = ""
    _runner: web.AppRunner | None = None
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/jwks.json", self._publish)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self.tls)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"https://localhost:{port}/jwks.json" if self.tls else f"http://{host}:{port}/jwks.json"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner is not None
        if self.held is not None:
            self.held.set()
        await self._runner.cleanup()

    async def fetched(self, times: int) -> None:
        """Until the keys were asked for so many times."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.fetches >= times)

    async def _publish(self, _request: web.Request) -> web.StreamResponse:
        async with self._changed:
            self.fetches += 1
            self._changed.notify_all()
        if self.held is not None:
            await self.held.wait()
        if self.answer is not None:
            return web.Response(status=self.answer.status, body=self.answer.body, headers=self.answer.headers)
        return web.json_response({"keys": self.keys})
