"""One request as the stages see it: the parsed head, the body stream, the connection to answer on."""

from typing import TYPE_CHECKING

from gateway.wire.body import BodyStream
from gateway.wire.ids import Ids
from gateway.wire.request_head import RequestHead

if TYPE_CHECKING:
    from gateway.listener.connection import Connection


class Request:
    """A request whose head is complete.

    ids       what its head says for this call alone
    received  `time.monotonic()` at that moment
    body      None when the request has none
    """

    __slots__ = ("body", "connection", "head", "ids", "received")

    def __init__(
        self, head: RequestHead, ids: Ids, body: BodyStream | None, connection: "Connection", received: float
    ) -> None:
        self.head = head
        self.ids = ids
        self.body = body
        self.connection = connection
        self.received = received

    def invite_body(self) -> None:
        """The body will be read from now on, which a caller may have waited for: one who has sent nothing of it."""
        if self.head.expects_continue and self.body is not None and not self.body.size:
            self.connection.invite_body()
