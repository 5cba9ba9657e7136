"""An authorization server (RFC 6749) and the API behind it, as a process of its own: `python -m tests.fakes.oauth_server`.

It issues, expires, rotates and revokes tokens, notices a refresh token that is used twice and revokes all that came of
it, and misbehaves as it is told: POST /control with what to change, GET /seen for what it has seen.
"""

import asyncio
import base64
import json
import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote_plus

from aiohttp import web

from tests.fakes.waiting import eventually, for_ever

CLIENT, SECRET, FIRST_REFRESH = "gate/way id", "s3cr3t:cl+ent", "s3cr3t-refresh-0"
MARK = "s3cr3t-access-"
"""What every access token begins with, so that tests find it wherever it should not be."""
PARTS = (SECRET, "s3cr3t")
HUGE = 200_000


class Server:
    """Its state. `mode`: ok, hold (until it is another), down (500), refuse, garbage, huge, redirect, hang, odd (what `answer` says)."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Nothing was issued yet, and nobody is waiting."""
        self._flying: set[object] = set()
        self.said: dict[str, Any] = {
            "mode": "ok",
            "expires_in": 3600,
            "lives_s": None,  # what it really lives; None = as it says
            "rotate": False,
            "lenient": False,  # a refresh token may be used again (RFC 9700 §4.14.2 calls it a grace period)
            "api": "ok",  # ok, always_401
            "answer": {},
            "headers": {},
        }
        self.access: dict[str, float] = {}
        self.refresh = {FIRST_REFRESH}
        self.spent: set[str] = set()
        self.seen: dict[str, Any] = {"requests": 0, "issued": 0, "at_once": 0, "reused": 0, "api": [], "forms": []}

    async def token(self, request: web.Request) -> web.StreamResponse:
        form = dict(await request.post())
        self.seen["requests"] += 1
        self.seen["forms"].append({name: value for name, value in form.items() if name != "client_secret"})
        flying, this = self._flying, object()  # those from before a reset are not counted any more
        flying.add(this)
        self.seen["at_once"] = max(self.seen["at_once"], len(flying))
        try:
            await eventually(lambda: self.said["mode"] != "hold", "to be let go on")
            return await self._answer(request, form)
        finally:
            flying.discard(this)

    async def _answer(self, request: web.Request, form: dict[str, Any]) -> web.StreamResponse:
        mode, headers = self.said["mode"], self.said["headers"]
        if mode == "down":
            return web.Response(status=500, text="s3cr3t-answer", headers=headers)
        if mode == "hang":
            await for_ever()
        if mode == "garbage":
            return web.Response(text="<html>s3cr3t-answer</html>")
        if mode == "huge":
            return web.Response(text=json.dumps({"access_token": "a" * HUGE}))
        if mode == "redirect":
            return web.Response(status=307, headers={"Location": "/token"})
        if mode == "odd":
            return web.json_response(self.said["answer"])
        if mode == "refuse" or not self._knows(request, form):
            return web.json_response({"error": "invalid_client", "error_description": "s3cr3t-answer"}, status=401)
        return self._grant(form)

    def _knows(self, request: web.Request, form: dict[str, Any]) -> bool:
        kind, _, text = request.headers.get("Authorization", "").partition(" ")
        if kind == "Basic":
            name, _, password = base64.b64decode(text).decode().partition(":")
            return (unquote_plus(name), unquote_plus(password)) == (CLIENT, SECRET) and "client_id" not in form
        return (form.get("client_id"), form.get("client_secret")) == (CLIENT, SECRET)

    def _grant(self, form: dict[str, Any]) -> web.Response:
        answer: dict[str, Any] = {"token_type": "Bearer", "expires_in": self.said["expires_in"]}
        if form["grant_type"] == "refresh_token":
            shown = form["refresh_token"]
            if shown in self.spent and self.said["lenient"]:
                self.refresh.add(shown)
            elif shown in self.spent:  # RFC 9700 §4.14.2: somebody else has it too
                self.seen["reused"] += 1
                self.refresh.clear()
                self.access.clear()
            if shown not in self.refresh:
                return web.json_response({"error": "invalid_grant"}, status=400)
            if self.said["rotate"]:
                self.refresh.remove(shown)
                self.spent.add(shown)
                answer["refresh_token"] = f"s3cr3t-refresh-{secrets.token_hex(8)}"
                self.refresh.add(answer["refresh_token"])
        elif form["grant_type"] != "client_credentials":
            return web.json_response({"error": "unsupported_grant_type"}, status=400)
        lives_s = self.said["lives_s"]
        token = answer["access_token"] = MARK + secrets.token_urlsafe(12)
        self.access[token] = time.monotonic() + (self.said["expires_in"] if lives_s is None else lives_s)
        self.seen["issued"] += 1
        return web.json_response(answer)

    async def api(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        fields = request.headers.getall("Authorization", []) + request.headers.getall("X-Token", [])
        shown = fields[0].rpartition(" ")[2] if len(fields) == 1 else ""
        good = time.monotonic() < self.access.get(shown, 0) and self.said["api"] == "ok"
        self.seen["api"].append({"path": request.path_qs, "good": good, "fields": len(fields), "body": len(body)})
        return web.json_response({"good": good}, status=200 if good else 401)

    async def control(self, request: web.Request) -> web.StreamResponse:
        told = await request.json()
        if told.pop("reset", False):
            self.begin()
        if told.pop("revoke", False):
            self.access.clear()
        assert told.keys() <= self.said.keys(), told
        self.said.update(told)
        return web.Response()

    async def tell(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response(self.seen)


async def serve() -> None:
    server, app = Server(), web.Application()
    app.router.add_post("/token", server.token)
    app.router.add_post("/control", server.control)
    app.router.add_get("/seen", server.tell)
    app.router.add_route("*", "/api/{rest:.*}", server.api)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)  # until whoever started this is gone
    await runner.cleanup()


class Authority:
    """The server as tests see it."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.token_url = f"{self.url}/token"

    def control(self, **told: Any) -> None:
        request = urllib.request.Request(f"{self.url}/control", json.dumps(told).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=30):
            pass

    def reset(self) -> None:
        """As if it had just been started."""
        self.control(reset=True)

    @property
    def seen(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/seen", timeout=30) as answer:
            return json.loads(answer.read())  # type: ignore[no-any-return]


@contextmanager
def running_authority() -> Iterator[Authority]:
    """A server of one's own, until the end of the block."""
    command = [sys.executable, "-m", "tests.fakes.oauth_server"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        yield Authority(int(process.stdout.readline()))
    finally:
        process.stdin.close()
        process.kill()
        process.wait()
        process.stdout.close()


if __name__ == "__main__":
    asyncio.run(serve())
