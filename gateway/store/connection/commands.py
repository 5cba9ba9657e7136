"""Packed commands that follow from another one."""

_BY_SHA = b"\r\n$7\r\nEVALSHA\r\n$40\r\n"


def with_source(command: bytes, source: str) -> bytes:
    """What to send when the server does not know the script of an EVALSHA: EVAL, which also caches it."""
    count, _, rest = command.partition(_BY_SHA)
    text = source.encode()
    return b"%b\r\n$4\r\nEVAL\r\n$%d\r\n%b%b" % (count, len(text), text, rest[40:])


def repeated(command: bytes, times: int) -> bytes:
    """The command that decides so many calls, one after the other, of one that decides a call: an argument more."""
    count, _, rest = command.partition(b"\r\n")
    argument = b"%d" % times
    return b"*%d\r\n%b$%d\r\n%b\r\n" % (int(count[1:]) + 1, rest, len(argument), argument)
