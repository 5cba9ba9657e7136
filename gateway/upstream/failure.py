"""The one exception that leaves this package."""


class UpstreamFailed(Exception):
    """No (complete) answer from the upstream.

    error   dns, dns_timeout, refused, connect_timeout, tls_certificate, tls_protocol, reset, closed,
            first_byte_timeout, idle_timeout, total_timeout, malformed, busy: keys of `core.problems.UPSTREAM_PROBLEMS`
    detail  for the log, never for the caller
    reused  the socket had served before, and not one byte of an answer came: the upstream may have closed it while it
            was idle
    again_s when it is `busy`: in how many seconds there is room again, as far as that is known
    """

    def __init__(self, error: str, detail: str = "", *, reused: bool = False, again_s: float = 1.0) -> None:
        super().__init__(f"{error}: {detail}" if detail else error)
        self.error = error
        self.detail = detail
        self.reused = reused
        self.again_s = again_s
