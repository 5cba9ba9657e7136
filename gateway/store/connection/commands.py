"""A packed command that follows from another one."""

_BY_SHA = b"\r\n$7\r\nEVALSHA\r\n$40\r\n"


def with_source(command: bytes, source: str) -> bytes:
    """What to send when the server does not know the script of an EVALSHA: EVAL, which also caches it."""
    count, _, rest = command.partition(_BY_SHA)
    text = source.encode()
    return b"%b\r\n$4\r\nEVAL\r\n$%d\r\n%b%b" % (count, len(text), text, rest[40:])
