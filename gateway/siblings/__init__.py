"""A worker's line to the other workers of its gateway, through the supervisor that forked them.

    siblings.on("in_flight", lambda asked: {"calls": gateway.in_flight})          # every worker, before `start`
    ...
    for answer in await siblings.ask_all("in_flight", {}, timeout_s=1):           # from any worker
        print(answer.worker, answer.missing or answer.payload)
    siblings.tell_all("record", {...})                                            # nobody answers

Every worker has a socketpair with the supervisor, made before it is forked; a worker that dies takes its line along
and its successor gets a new one. Nobody ever waits to send: a worker that does not read is not asked (its answer is
missing at once), and what is told to it is dropped and counted. Messages are JSON objects of at most
`frames.MAX_BODY_BYTES`. With a single worker there is no line: it asks and tells itself.
"""

from gateway.siblings.line import Siblings
from gateway.siblings.question import Answer

__all__ = ["Answer", "Siblings"]
