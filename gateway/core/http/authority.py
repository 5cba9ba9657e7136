"""Where a server is, as URLs have it (RFC 3986 §3.2)."""


def authority(host: str, port: int | None) -> str:
    """A host and its port, if one is to be written; IPv6 in brackets (§3.2.2)."""
    name = f"[{host}]" if ":" in host else host
    return name if port is None else f"{name}:{port}"
