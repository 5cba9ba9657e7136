"""The page's own files: style, scripts, icon. They say nothing about the gateway, so everybody who may connect may read
them; the sign-in page needs them."""

from functools import cache
from hashlib import blake2b
from importlib.resources import files

from aiohttp import hdrs, web

from gateway.admin.endpoint import tagged, unchanged
from gateway.admin.page.layout import FIELDS
from gateway.admin.view import AdminView

KINDS = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml", "txt": "text/plain"}
BEHIND = "/assets/"


@cache
def assets() -> dict[str, tuple[bytes, str]]:
    """Content and entity tag of each shipped file, by its name."""
    found = {}
    for file in files("gateway.admin.page").joinpath("assets").iterdir():
        if file.name.rpartition(".")[2] in KINDS:
            content = file.read_bytes()
            found[file.name] = (content, blake2b(content, digest_size=8).hexdigest())
    return found


async def asset(_view: AdminView, request: web.Request) -> web.StreamResponse:
    """One file of the page; a browser asks each time whether it still has the right one."""
    name = request.path.removeprefix(BEHIND)
    if name not in assets():
        raise web.HTTPNotFound
    content, tag = assets()[name]
    kind = KINDS[name.rpartition(".")[2]]
    response = unchanged(request, tag) or web.Response(body=content, content_type=kind, charset="utf-8", headers=FIELDS)
    response.headers[hdrs.CACHE_CONTROL] = "no-cache"
    return tagged(response, tag)
