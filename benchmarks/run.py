"""CPU per call of the gateway beside other proxies, in one run: `python -m benchmarks.run [PEER ...]`.

Every proxy gets the same load, one after the other, round after round, so that whatever disturbs the machine
disturbs all of them. See benchmarks/README.md for the method.
"""

import argparse
import json
import platform
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from benchmarks import measure
from benchmarks.measure import Failed, Program, Sample, free_port, get, running
from benchmarks.peers import envoy, gateway, nginx_lua
from benchmarks.peers.shape import LIMITS, Peer, Place

PEERS = {peer.name: peer for peer in (gateway.PEER, nginx_lua.PEER, envoy.PEER)}
BODY = json.dumps({"id": 1, "ok": True, "text": "x" * 980})
UPSTREAM = """daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log error; user root;
events {{ worker_connections 4096; }}
http {{
  client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
  uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5; keepalive_requests 1000000000; keepalive_timeout 3600s;
  access_log off; default_type application/json; tcp_nodelay on;
  server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ return 200 '{body}'; }} }}
}}
"""


@contextmanager
def upstream(port: int) -> Iterator[Program]:
    """nginx that answers about 1 KiB of JSON at once."""
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as name:
        config = Path(name) / "nginx.conf"
        config.write_text(UPSTREAM.format(folder=name, port=port, body=BODY))
        with running("upstream", ["nginx", "-c", str(config)], measure.OTHER_CORE, lambda: get(port)[0] == 200) as up:
            yield up


@contextmanager
def store(port: int) -> Iterator[Program]:
    """redis-server without persistence."""
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]

    def up() -> bool:
        return measure.socket.create_connection(("127.0.0.1", port), 1).close() is None

    with running("redis-server", command, measure.OTHER_CORE, up) as server:
        yield server


def sample(peer: Peer, profile: str, upstream_port: int, seconds: float) -> Sample:
    """Start everything fresh, check the answers, measure, check that nothing was wrong."""
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as folder:
        store_port = free_port()
        with store(store_port) as counters:
            place = Place(free_port(), upstream_port, store_port, Path(folder), LIMITS[profile])
            command = peer.command(place)
            with running(peer.name, command, measure.PROXY_CORE, lambda: get(place.port)[0] in (200, 429)) as proxy:
                _check(peer, profile, place)
                result = measure.measure(proxy, counters, place.port, seconds)
        wrong = result.not_2xx if profile == "admitted" else result.calls - result.not_2xx
        if result.broken or wrong > 1 + result.calls // 1000:
            raise Failed(f"{peer.name}, {profile}: {wrong} wrong answers, {result.broken} broken connections")
        return result


def _check(peer: Peer, profile: str, place: Place) -> None:
    first = get(place.port, "t1")
    second = get(place.port, "t1")
    if profile == "admitted" and (second[0] != 200 or second[2] != BODY.encode()):
        raise Failed(f"{peer.name}: a call that should pass got {second[0]}")
    if profile == "refused" and second[0] != 429:
        raise Failed(f"{peer.name}: a call over the limit got {second[0]} after {first[0]}")


def table(samples: dict[tuple[str, str], list[Sample]], against: str) -> str:
    """Medians, and CPU as a multiple of `against` in the same rounds."""
    lines = [f"| profile | proxy | CPU µs/call (min–max) | × {against} | calls/s | p50 ms | p99 ms | MiB | store µs |"]
    lines.append("| --- " * 9 + "|")
    for (profile, name), some in samples.items():
        cpu = [s.cpu_us for s in some]
        base = [s.cpu_us for s in samples.get((profile, against), [])]
        ratio = f"{statistics.median([a / b for a, b in zip(cpu, base, strict=False)]):.2f}" if base else "–"
        row = [profile, name, f"{statistics.median(cpu):.1f} ({min(cpu):.1f}–{max(cpu):.1f})", ratio]
        for field, digits in (("calls_per_s", 0), ("p50_ms", 2), ("p99_ms", 1), ("memory_mib", 0), ("store_us", 1)):
            row.append(f"{statistics.median([getattr(s, field) for s in some]):.{digits}f}")
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def main() -> int:
    """Measure the named peers; a peer that fails is reported and left out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("peers", nargs="*", metavar="PEER", help="of " + ", ".join(PEERS) + "; default: all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--against", default="envoy-local", choices=list(PEERS))
    parser.add_argument("--json", type=Path, help="write every sample to this file")
    options = parser.parse_args()
    if unknown := set(options.peers) - set(PEERS):
        parser.error("unknown: " + " ".join(sorted(unknown)))
    options.peers = options.peers or list(PEERS)
    samples: dict[tuple[str, str], list[Sample]] = {}
    failed: set[str] = set()
    try:
        measure.need("wrk", "nginx", "redis-server", "taskset")
        upstream_port = free_port()
        with upstream(upstream_port):
            for number in range(options.rounds):
                for profile in LIMITS:
                    for name in options.peers:
                        if name in failed:
                            continue
                        try:
                            one = sample(PEERS[name], profile, upstream_port, options.seconds)
                        except (Failed, OSError) as error:
                            failed.add(name)
                            print(f"round {number + 1} {profile} {name}: {error}", flush=True)
                            continue
                        samples.setdefault((profile, name), []).append(one)
                        print(f"round {number + 1} {profile} {name}: {one.cpu_us:.1f} µs/call", flush=True)
    except Failed as error:
        print(error, file=sys.stderr)
        return 1
    print(f"\n{platform.platform()}, Python {platform.python_version()}\n")
    print(table(samples, options.against))
    if options.json:
        rows = [{"profile": p, "peer": n, "samples": [asdict(s) for s in some]} for (p, n), some in samples.items()]
        options.json.write_text(json.dumps({"machine": platform.platform(), "results": rows}, indent=1))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
