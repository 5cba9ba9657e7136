"""What a request head may say, as strictly as the strictest server behind us might read it."""

import re
from typing import Any, Protocol

from gateway.wire.head import BadHead, Headers, body_length, connection_options

_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([!-~]+) HTTP/([0-9]\.[0-9])\r\n")
_RAW_TARGET = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+ /[^\r\n]* HTTP/1\.[0-9]\r\n")
NO_METHOD = re.compile(rb"(?!\r\Z)[!#$%&'*+\-.^_`|~0-9A-Za-z]*[^!#$%&'*+\-.^_`|~0-9A-Za-z ]")
"""What cannot become a request line: TLS, another protocol, a method that is none."""
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]+)(?::([0-9]{0,5}))?")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
MOST_PORT = 65_535


def check_line(head: bytes) -> tuple[str, str]:
    """(method, target) of the request line. llhttp has a closed list of methods; any token is one (RFC 9110 §9.1).

    Raises BadHead.
    """
    line = _LINE.match(head)
    if line is None:
        if _RAW_TARGET.match(head) is not None:  # as programs write it that take any text for a URL
            raise BadHead(400, "the request target has bytes that must be percent-encoded")
        raise BadHead(400, "malformed request line")
    method, target, version = line.groups()
    if version[:2] != b"1.":
        raise BadHead(505, "only HTTP/1.x is spoken here")
    if method == b"CONNECT":
        raise BadHead(405, "CONNECT is not offered: this is not a forward proxy")
    return method.decode("ascii"), target.decode("ascii")


def upgrade(headers: Headers) -> str:
    """The protocols asked for, unless the switch would put requests out of our sight, or is in a body's way."""
    asked = headers.get("Upgrade", "")
    hidden = any(name.strip().lower().startswith(("h2c", "http/", "tls/")) for name in asked.split(","))
    return "" if hidden or "upgrade" not in connection_options(headers) else asked


def check_host(headers: Headers, http10: bool) -> None:
    """RFC 9112 §3.2: there is a Host, and it can be one; no name at all is one too."""
    host = headers.get("Host")
    if host is None:
        if not http10:
            raise BadHead(400, "Host is missing")
    elif host:
        match = _HOST.fullmatch(host)
        if match is None or int(match[1] or 0) > MOST_PORT:
            raise BadHead(400, "malformed Host")


class Block(Protocol):
    """The fields of a request."""

    @property
    def headers(self) -> Headers: ...


def checked_target(method: str, target: str, block: Block) -> str:
    """RFC 9112 §3.2: origin-form, `*` for OPTIONS, absolute-form only when its authority is the Host's. Raises
    BadHead."""
    if "#" in target:
        raise BadHead(400, "fragment in the request target")
    if target[0] == "/":
        return target
    if target == "*":
        if method != "OPTIONS":
            raise BadHead(400, "malformed request target")
        return target
    return _origin_form(method, target, block.headers.get("Host", ""))


def _origin_form(method: str, target: str, host: str) -> str:
    """Of an absolute-form target; `*` of OPTIONS for one without path and query (RFC 9112 §3.2.4)."""
    scheme, separator, rest = target.partition("://")
    port = _DEFAULT_PORTS.get(scheme.lower())
    if not separator or port is None:
        raise BadHead(400, "malformed request target")
    cut = min((i for i in (rest.find("/"), rest.find("?")) if i >= 0), default=len(rest))
    authority, path = rest[:cut], rest[cut:]
    asked = authority.lower().removesuffix(port)
    if not asked or asked != host.lower().removesuffix(port):
        raise BadHead(400, "the target's authority is not the Host's")
    if not path and method == "OPTIONS":
        return "*"
    return path if path.startswith("/") else "/" + path


def request_body(message: Any, headers: Headers, http10: bool) -> int:
    """The length of a body that is not chunked. Raises BadHead for what can be read in two ways."""
    if "Transfer-Encoding" in headers:
        if http10 or "Content-Length" in headers:
            raise BadHead(400, "ambiguous body length")
        if len(headers.getall("Transfer-Encoding")) != 1 or headers["Transfer-Encoding"].lower() != "chunked":
            raise BadHead(501, "the only transfer coding understood is chunked")
        if not message.chunked:
            raise BadHead(400, "malformed Transfer-Encoding")
        return 0
    length = headers.get("Content-Length")
    return body_length(length, 400) if length is not None else 0
