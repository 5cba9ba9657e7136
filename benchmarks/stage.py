"""One proxy on its stage: upstream, store, checks, and one measured run.

CPU time of the proxy's processes over the calls they answered is the figure that depends least on everything else: the
load generator, the upstream and the store run on another core and are not in it.
"""

import json
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import programs
from benchmarks.calm import patience
from benchmarks.load import Load
from benchmarks.peers.shape import Peer, Place
from benchmarks.programs import Failed, Program, free_port, get, running

BODY = json.dumps({"id": 1, "ok": True, "text": "x" * 980})
DENIED = "/denied"
SIZES = (0, 1024, 16 * 1024, 256 * 1024)
_UPSTREAM = """daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log error; user root;
load_module /usr/lib/nginx/modules/ndk_http_module.so;
load_module /usr/lib/nginx/modules/ngx_http_lua_module.so;
events {{ worker_connections 4096; }}
http {{
  client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
  uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5; keepalive_requests 1000000000; keepalive_timeout 3600s;
  access_log off; default_type application/json; tcp_nodelay on; client_max_body_size 0; sendfile on;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ return 200 '{body}'; }}
    location {denied} {{ return 401; }}
    location /bytes/ {{ alias {folder}/bytes/; }}
    location /read/ {{
      client_body_buffer_size 1m; content_by_lua_block {{ ngx.req.read_body() ngx.print('{body}') }}
    }}
  }}
}}
"""


@contextmanager
def upstream(port: int, cores: str = programs.OTHER_CORE) -> Iterator[Program]:
    """nginx that answers about 1 KiB of JSON: at once, below `/read/` when it has read the request's body.

    `/bytes/N` has N bytes, DENIED says 401.
    """
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "bytes").mkdir()
        for size in SIZES:
            (folder / "bytes" / str(size)).write_bytes(b"x" * size)
        config = folder / "nginx.conf"
        config.write_text(_UPSTREAM.format(folder=name, port=port, body=BODY, denied=DENIED))
        command = ["nginx", "-c", str(config)]
        with running("upstream", command, cores, lambda: get(port)[0] == 200) as up:
            yield up


@contextmanager
def store(port: int, cores: str = programs.OTHER_CORE) -> Iterator[Program]:
    """redis-server without persistence."""
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]

    def up() -> bool:
        return socket.create_connection(("127.0.0.1", port), 1).close() is None

    with running("redis-server", command, cores, up) as server:
        yield server


@dataclass(frozen=True)
class Stand:
    """A started proxy, with the store behind it."""

    place: Place
    proxy: Program
    store: Program


@contextmanager
def standing(
    peer: Peer,
    limit: int,
    upstream_port: int,
    *,
    cores: str = programs.PROXY_CORE,
    store_cores: str = programs.OTHER_CORE,
    path: str = "/v1/items",
) -> Iterator[Stand]:
    """Start a proxy with an empty store; it is ready when `path` is answered. Raises Failed."""
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as folder:
        store_port = free_port()
        place = Place(free_port(), upstream_port, store_port, Path(folder), limit)
        with store(store_port, store_cores) as counters:
            command = peer.command(place)
            with running(peer.name, command, cores, lambda: get(place.port, "ready", path)[0] in (200, 429)) as proxy:
                yield Stand(place, proxy, counters)


def check(stand: Stand, name: str) -> None:
    """Whether it proxies and limits at all. Raises Failed."""
    port, refusing = stand.place.port, stand.place.limit == 1
    first, second, other = get(port, "check-1"), get(port, "check-1"), get(port, "check-2")
    if first[0] != 200 or first[1] != BODY.encode():
        raise Failed(f"{name}: a call that should pass got {first[0]}")
    if second[0] != (429 if refusing else 200):
        raise Failed(f"{name}: the second call of a tenant got {second[0]}")
    if other[0] != 200:
        raise Failed(f"{name}: the call of another tenant got {other[0]}")


@dataclass(frozen=True)
class Sample:
    """One measured run of one proxy. slowness: of the machine meanwhile (`calm`), 1 = as fast as ever."""

    cpu_us: float
    calls: int
    calls_per_s: float
    p50_ms: float
    p99_ms: float
    memory_mib: float
    store_us: float
    slowness: float


def measure(stand: Stand, load: Load, seconds: float, *, tenants: int = 1, warm_up_s: float = 1.0) -> Sample:
    """Warm up without pauses, then one measured run; made again if the machine was disturbed.

    Raises Failed when answers were not what the limit says.
    """
    warm_up(stand, load, warm_up_s)
    slowness, sample = patience().calmest(lambda: one_run(stand, load, seconds, tenants))
    return replace(sample, slowness=slowness)


def warm_up(stand: Stand, load: Load, seconds: float) -> None:
    """Calls without pauses, not measured."""
    replace(load, pause_ms=0).run(stand.place.port, seconds)


def one_run(stand: Stand, load: Load, seconds: float, tenants: int = 1) -> Sample:
    """Measure once, whatever the machine does meanwhile (slowness 1). Raises Failed as `measure` does."""
    proxy_before, store_before = stand.proxy.cpu_us(), stand.store.cpu_us()
    figures = load.run(stand.place.port, seconds)
    calls = max(1, figures["calls"])
    sample = Sample(
        cpu_us=(stand.proxy.cpu_us() - proxy_before) / calls,
        calls=calls,
        calls_per_s=calls / figures["us"] * 1e6,
        p50_ms=figures["p50_us"] / 1e3,
        p99_ms=figures["p99_us"] / 1e3,
        memory_mib=stand.proxy.memory_mib(),
        store_us=(stand.store.cpu_us() - store_before) / calls,
        slowness=1.0,
    )
    wrong = calls - figures["not_2xx"] if stand.place.limit == 1 else figures["not_2xx"]
    if figures["broken"] or wrong > tenants + calls // 1000:
        raise Failed(f"{wrong} wrong answers of {calls}, {figures['broken']} broken connections")
    return sample
