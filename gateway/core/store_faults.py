"""What a store says of itself."""

_LASTING = (
    *("WRONGPASS", "NOAUTH", "NOPERM", "executing the script can't", "ACL failure", "DB index", "redis+cluster:"),
    *("unknown command", "Unknown Redis command"),  # an older server than 6.2, or commands that were renamed
    "DENIED",  # protected mode
    "cluster support disabled",  # its URL begins with redis+cluster:// and should not
    "CERTIFICATE_VERIFY_FAILED",
    # As redis-py passes on what was said to a login: without the word in front.
    *("invalid username-password", "without any password configured", "has no permissions", "Authentication required"),
)


def is_lasting(detail: str) -> bool:
    """Whether it names a mistake of set-up, which no waiting mends."""
    return any(words in detail for words in _LASTING)
