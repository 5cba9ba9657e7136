"""Where an upstream is: `https://host[:port][/base]`, `unix:///path/to/socket`, or `builtin:echo`."""

import re
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from gateway.core.http.authority import authority
from gateway.policy.findings import quoted
from gateway.policy.models.paths import parse_path
from gateway.policy.models.scalars import Unfit, expect_text, parse_host

ECHO = "builtin:echo"
_NO_SCHEME = re.compile(r"[A-Za-z0-9.-]{1,80}(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]{0,80})?").fullmatch
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Place:
    """An upstream URL taken apart. Fields as in `gateway.core.upstream.Upstream`."""

    scheme: str = "http"
    host: str = "localhost"
    port: int = 80
    authority: str = "localhost"
    base_path: str = ""
    unix_path: str = ""
    builtin_echo: bool = False


def parse_upstream_url(value: object) -> Place:
    """The place that a URL names. Raises Unfit; its message never contains credentials."""
    text = expect_text(value, "a URL like https://api.example.com")
    if text == ECHO:
        return Place(builtin_echo=True)
    if text.startswith("unix:"):
        return _unix(text)
    if "@" in text:
        raise Unfit("inline-secret", "a URL of an upstream holds no user or password", "remove everything up to the @")
    if "?" in text or "#" in text:
        raise Unfit("inline-secret", "a URL of an upstream has no query and no fragment", "end it with the path")
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise Unfit("bad-url", f"{quoted(text)} is not a URL", "write it like https://api.example.com") from None
    return _http(text, url, port)


def _unix(text: str) -> Place:
    path = text.removeprefix("unix://")
    if not re.fullmatch(r"/[^\x00?#]+", path) or path == text:
        raise Unfit("bad-url", f"{quoted(text)} names no socket", "write it like unix:///run/api.sock")
    return Place(unix_path=path)


def _http(text: str, url: SplitResult, port: int | None) -> Place:
    if url.scheme not in _PORTS or not url.hostname:
        hint = f"write http://{text} or https://{text}" if _NO_SCHEME(text) else "write it like https://api.example.com"
        raise Unfit("bad-url", f"{quoted(text)} is not a URL of an upstream", hint)
    if port == 0:
        raise Unfit("bad-url", f"port 0 in {quoted(text)}")
    host = parse_host(url.hostname)
    if host.startswith("*"):
        raise Unfit("bad-host", f"{quoted(text)} does not name a single host")
    base_path = parse_path(url.path).rstrip("/") if url.path else ""
    default = _PORTS[url.scheme]
    written = authority(host, None if port == default else port)
    return Place(url.scheme, host, port or default, written, base_path)


class _AsPlace:
    """Puts `parse_upstream_url` into models."""

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(parse_upstream_url)

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "title": "URL", "pattern": "^(https?://|unix:///|builtin:echo$)", "examples": [ECHO]}


UpstreamUrl = Annotated[Place, _AsPlace]
