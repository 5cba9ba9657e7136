"""Asking a token endpoint: one POST, whose answer is believed as far as it makes sense."""

import ssl
from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple
from urllib.parse import quote_plus, urlencode

import aiohttp
import orjson

from gateway.certificate_files import begin_with, trusting
from gateway.core.access.credentials import OAuth
from gateway.core.access.tokens import Failure, Token, read_answer
from gateway.unanswered import why_unanswered

FETCH_S = 10.0
MAX_BYTES = 64 * 1024


class Form(NamedTuple):
    """What is posted, and the Authorization that goes with it ("" = none)."""

    body: str
    authorization: str


def form_of(oauth: OAuth, refresh_token: str) -> Form:
    """RFC 6749 §4.4.2 and §6; the client says who it is as §2.3.1 has it."""
    fields = {"grant_type": oauth.grant, **{name: value.reveal() for name, value in oauth.parameters}}
    if oauth.scope:
        fields["scope"] = " ".join(oauth.scope)
    if oauth.grant == "refresh_token":
        fields["refresh_token"] = refresh_token
    client, secret = oauth.client_id, oauth.client_secret.reveal()
    if secret and not oauth.client_in_body:
        both = f"{quote_plus(client)}:{quote_plus(secret)}"
        return Form(urlencode(fields), f"Basic {b64encode(both.encode()).decode()}")
    fields["client_id"] = client
    if secret:
        fields["client_secret"] = secret
    return Form(urlencode(fields), "")


class Endpoint:
    """All token endpoints, over one session, made when the first is asked."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._tls: dict[str, ssl.SSLContext] = {}

    def trust(self, ca_file: str) -> None:
        """Read a PEM file, "" = the system's, from now on what it says now. Raises OSError."""
        self._tls[ca_file] = begin_with(trusting, ca_file)

    def read_certificates(self, ca_files: Iterable[str]) -> Sequence[Callable[[], None]]:
        """As `reload.certificates.Trusting` has it, of these files."""
        fresh = {ca_file: trusting(ca_file) for ca_file in ca_files}
        return [partial(self._tls.__setitem__, ca_file, tls) for ca_file, tls in fresh.items()]

    async def ask(self, oauth: OAuth, refresh_token: str) -> Token | Failure:
        """A new token. Never raises; nothing of what was sent or answered is in a failure, but for an error code."""
        try:
            status, content, retry_after = await self._post(oauth, form_of(oauth, refresh_token))
        except TimeoutError:
            return Failure(False, f"no answer within {FETCH_S:g} s")
        except _TooLarge:
            return Failure(False, f"answer larger than {MAX_BYTES // 1024} KiB")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Failure(False, why_unanswered(error))
        try:
            document = orjson.loads(content)
        except ValueError:
            document = None
        return read_answer(status, document, retry_after)

    async def close(self) -> None:
        """Close the session with the token endpoint. Idempotent."""
        if self._session is not None:
            await self._session.close()

    async def _post(self, oauth: OAuth, form: Form) -> tuple[int, bytes, str]:
        """Status, body and Retry-After. No redirect is followed, no proxy used, no cookie kept."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=FETCH_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept": "application/json", "Accept-Encoding": "identity"},
                auto_decompress=False,
            )
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if form.authorization:
            headers["Authorization"] = form.authorization
        async with self._session.post(
            oauth.token_url,
            data=form.body.encode(),
            headers=headers,
            allow_redirects=False,
            ssl=self._tls[oauth.ca_file],
        ) as answer:
            content = b""
            async for piece in answer.content.iter_any():
                content += piece
                if len(content) > MAX_BYTES:
                    raise _TooLarge
            return answer.status, content, answer.headers.get("Retry-After", "").strip()


class _TooLarge(Exception):
    """The rest of the answer is not read."""
