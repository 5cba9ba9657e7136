"""URLs of servers that the gateway trusts with secrets, or to tell the truth about keys."""

import re
from urllib.parse import urlsplit

from gateway.core.public_address import is_loopback
from gateway.policy.findings import quoted
from gateway.policy.models.scalars import Unfit, expect_text


def parse_remote_url(value: object, example: str, danger: str) -> str:
    """https, or http to this machine. The message never has a user or password that stands in it.

    danger  what http to anywhere else would mean
    """
    text = expect_text(value, f"a URL like {example}")
    hint = f"write it like {example}"
    if "@" in text:
        raise Unfit("inline-secret", "such a URL holds no user or password", "remove everything up to the @")
    try:
        url = urlsplit(text)
        port_fits = url.port != 0
    except ValueError:
        port_fits = False
    if not port_fits or not url.hostname or url.scheme not in ("http", "https") or not re.fullmatch("[!-~]+", text):
        raise Unfit("bad-url", f"{quoted(text)} is not a URL", hint)
    if url.scheme == "http" and not is_loopback(url.hostname):
        raise Unfit("bad-url", danger, hint)
    return text
