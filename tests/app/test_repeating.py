"""What may be sent again, and what never is: by method, by key, by what was sent and answered before."""

import asyncio

from gateway.core.retry import Stop
from gateway.record import CallRecord
from tests.app.conftest import Start
from tests.app.trying import DOWN, POLICIES, Begin, Watched, after
from tests.app.trying import begin as begin
from tests.fakes.upstream import OK, Received, Socket, Upstream, always


class TestWhatIsSafeToRepeat:
    POST = b"POST /x HTTP/1.1\r\nHost: gw\r\n%bContent-Length: 4\r\n\r\nbody"

    async def test_a_post_is_never_repeated(self, begin: Begin, upstream: Upstream) -> None:
        gateway = await begin()
        upstream.script = always(DOWN)
        _, record = await gateway.call(self.POST % b"")
        assert (len(upstream.received), record.attempts, gateway.reasons) == (1, None, [Stop.METHOD])

    async def test_nor_when_the_upstream_hangs_up(self, begin: Begin, upstream: Upstream) -> None:
        gateway = await begin()

        async def hang_up(_request: Received, socket: Socket) -> None:
            socket.reset()

        upstream.script = hang_up
        _, record = await gateway.call(self.POST % b"")
        assert (len(upstream.received), record.code) == (1, "UPSTREAM_UNREACHABLE")

    async def test_with_an_idempotency_key_it_is(self, begin: Begin, upstream: Upstream) -> None:
        gateway = await begin()
        upstream.script = after(1)
        _, record = await gateway.call(self.POST % b"Idempotency-Key: k1\r\n")
        assert record.status == 200
        assert [(one.fields("Idempotency-Key"), one.body) for one in upstream.received] == [(["k1"], b"body")] * 2

    async def test_nothing_is_repeated_once_an_answer_began(self, begin: Begin, upstream: Upstream) -> None:
        gateway = await begin()

        async def break_off(_request: Received, socket: Socket) -> None:
            await socket.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nbegun")
            socket.reset()

        upstream.script = break_off
        answer, record = await gateway.call()
        assert answer.endswith(b"begun") or answer.startswith(b"HTTP/1.1 200")
        assert (len(upstream.received), record.aborted_by) == (1, "upstream")


class TestBodies:
    PUT = b"PUT /x HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"

    async def _upload(self, gateway: Watched, upstream: Upstream, *pieces: bytes) -> CallRecord:
        """Send pieces one by one, each after the upstream has seen the call (or the caller has begun)."""
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.running.port)
        writer.write(self.PUT)
        for piece in pieces:
            await writer.drain()
            await upstream.until(lambda: upstream.accepted > 0)
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        writer.write(b"0\r\n\r\n")
        await reader.read()
        writer.close()
        return (await gateway.running.records.wait(1))[0]

    async def test_what_came_in_pieces_is_sent_again_as_a_whole(self, begin: Begin, upstream: Upstream) -> None:
        gateway = await begin()
        upstream.script = after(1)
        record = await self._upload(gateway, upstream, b"one", b"two" * 1000)
        assert (record.status, len(upstream.received)) == (200, 2)
        assert all(b"".join(one.body.split(b"\r\n")[1::2]) == b"one" + b"two" * 1000 for one in upstream.received)

    async def test_what_is_larger_than_the_policy_keeps_is_not(self, begin: Begin, upstream: Upstream) -> None:
        gateway = await begin(", max_body: 1KiB")
        upstream.script = always(DOWN)
        record = await self._upload(gateway, upstream, b"one", b"two" * 1000)
        assert (record.status, len(upstream.received), gateway.reasons) == (503, 1, [Stop.BODY])

    async def test_an_answer_in_the_middle_of_the_upload_is_followed_by_all_of_it(
        self, begin: Begin, upstream: Upstream
    ) -> None:
        """The upstream refuses before it has read the body; what is still to come goes to the next attempt."""
        gateway = await begin()
        upstream.read_body = False
        refused = asyncio.Event()
        bodies: list[bytes] = []

        async def script(_request: Received, socket: Socket) -> bytes | None:
            if not refused.is_set():
                await socket.send(DOWN)
                return None
            bodies.append(await socket.reader.readuntil(b"0\r\n\r\n"))
            return OK

        upstream.script = script
        gateway.clock.sleeping = refused.set
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.running.port)
        writer.write(self.PUT + b"3\r\none\r\n")
        await refused.wait()
        writer.write(b"3\r\ntwo\r\n0\r\n\r\n")
        answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"".join(bodies).replace(b"6\r\nonetwo", b"3\r\none\r\n3\r\ntwo") == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"


class TestErrorsOfTheTransport:
    async def test_an_upstream_that_refuses_connections(self, begin: Begin, unused_tcp_port: int) -> None:
        gateway = await begin(url=f"http://127.0.0.1:{unused_tcp_port}")
        answer, record = await gateway.call()
        assert answer.startswith(b"HTTP/1.1 502 ")
        assert [one["error_class"] for one in record.attempts or ()] == ["connect"] * 5
        assert (record.error_class, gateway.reasons) == ("connect", [Stop.ATTEMPTS])

    async def test_an_upstream_that_hangs_up_sees_what_the_policy_says(self, begin: Begin, upstream: Upstream) -> None:
        """Also when it did so on a kept-alive socket: that attempt counts like the others."""
        gateway = await begin()
        await gateway.call()

        async def hang_up(_request: Received, socket: Socket) -> None:
            socket.reset()

        upstream.script = hang_up
        _, record = await gateway.call()
        assert (len(upstream.received) - 1, record.code) == (5, "UPSTREAM_UNREACHABLE")
        assert [one["n"] for one in record.attempts or ()] == [1, 2, 3, 4, 5]

    async def test_what_is_not_listed_is_answered_at_once(self, begin: Begin, upstream: Upstream) -> None:
        gateway = await begin(", on_error: [connect]")

        async def hang_up(_request: Received, socket: Socket) -> None:
            socket.reset()

        upstream.script = hang_up
        _, record = await gateway.call()
        assert (len(upstream.received), record.error_class) == (1, "reset")


async def test_a_stale_socket_under_an_upload_that_has_not_begun(start: Start, upstream: Upstream) -> None:
    """No policy: a request that waits for its 100 is sent again on a fresh socket, and its body goes there."""
    gateway = Watched(
        await start(POLICIES.replace(", retry: standard", "") % {"retry": "", "url": upstream.url, "source": 9})
    )
    await gateway.call()
    upstream.read_body = False

    async def script(request: Received, socket: Socket) -> bytes | None:
        if request.connection == 0:
            socket.reset()
            return None
        return b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n" + await socket.reader.readexactly(4)

    upstream.script = script
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.running.port)
    writer.write(
        b"PUT /x HTTP/1.1\r\nHost: gw\r\nExpect: 100-continue\r\nContent-Length: 4\r\nConnection: close\r\n\r\n"
    )
    await upstream.until(lambda: upstream.accepted == 2)
    writer.write(b"body")
    answer = await reader.read()
    writer.close()
    assert answer.endswith(b"\r\n\r\nbody")
    record = (await gateway.running.records.wait(2))[1]
    assert [one.get("error_class") for one in record.attempts or ()] == ["reset", None]
