"""The one way a start goes wrong."""


class StartFailed(Exception):
    """The gateway cannot start. The text is one sentence for the person who started it; exit code 4."""
