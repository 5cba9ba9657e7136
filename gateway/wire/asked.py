"""A request that somebody asks about: made of texts, not read from a socket."""

import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import urlsplit

from multidict import CIMultiDict

from gateway.core.http.client_address import parse
from gateway.core.http.hop import TOKEN

_TARGET = re.compile(r"/[!-~]*|\*")
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")


class BadAsked(ValueError):
    """No caller could send this. The text says why."""


class Asked(NamedTuple):
    """See `core.routing.resolve.Asking`. `http_host` is the value of its Host field, "" = it has none."""

    method: str
    target: str
    headers: CIMultiDict[str]

    @property
    def http_host(self) -> str:
        return self.headers.get("Host", "")


def asked(method: str, url: str, fields: Iterable[tuple[str, str]] = ()) -> Asked:
    """The request with this method, target and fields. Raises BadAsked.

    url  path and query, or a whole URL, whose host becomes the Host field unless `fields` have one. What is not ASCII
         in it is percent-encoded as browsers do
    """
    if not TOKEN.fullmatch(method):
        raise BadAsked(f"{method!r} is not a method")
    headers = CIMultiDict[str]()
    for name, value in fields:
        if not TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise BadAsked(f"{name!r} is not a header field, or not its value")
        headers.add(name, value.strip(" \t"))
    target = url
    if url.startswith(("http://", "https://")):
        target = _target_of(url, headers)
    target = "".join(letter if letter.isascii() else _encoded(letter) for letter in target)
    if not _TARGET.fullmatch(target):
        raise BadAsked(f"{url!r} is not a path that begins with / or a URL")
    return Asked(method, target, headers)


def asked_from(text: str) -> str:
    """The address that such a request comes from, as the gateway writes it; "" = not known. Raises BadAsked."""
    address = parse(text) if text else None
    if text and address is None:
        raise BadAsked(f"{text!r} is not an IP address")
    return str(address or "")


def _target_of(url: str, headers: CIMultiDict[str]) -> str:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise BadAsked(f"{url!r} is not a URL: {error}") from None
    headers.setdefault("Host", parts.netloc.rpartition("@")[2])
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _encoded(letter: str) -> str:
    return "".join(f"%{byte:02X}" for byte in letter.encode("utf-8", "surrogateescape"))
