"""The main table: CPU per call of every proxy under the same load, interleaved round by round."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.load import SAME, varied
from benchmarks.peers import envoy, fastify, gateway, nginx_limit_req, nginx_lua, ordinary, traefik
from benchmarks.peers.shape import LIMITS, Missing, Peer
from benchmarks.programs import Failed
from benchmarks.stage import check, measure, standing

PEERS: dict[str, Peer] = {
    module.PEER.name: module.PEER for module in (gateway, nginx_limit_req, nginx_lua, envoy, traefik, fastify, ordinary)
}
TENANTS = 100
HEADS = {"same": (SAME, 1), "varied": (varied(TENANTS), TENANTS)}
"""What is sent, and by how many tenants."""

Row = dict[str, Any]


def versions(names: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """(version of each peer that is there, what to do about each that is not)."""
    there, missing = {}, {}
    for name in names:
        try:
            there[name] = PEERS[name].version()
        except Missing as error:
            missing[name] = str(error)
    return there, missing


def rounds(
    names: Sequence[str], upstream_port: int, count: int, seconds: float, profiles: Sequence[str], heads: Sequence[str]
) -> tuple[list[Row], dict[str, str]]:
    """(one row for each measured run, why peers failed). A peer that failed once is left out of later rounds."""
    rows: list[Row] = []
    failed: dict[str, str] = {}
    for number in range(count):
        for profile in profiles:
            for head in heads:
                for name in [name for name in names if name not in failed]:
                    about = {"profile": profile, "heads": head, "peer": name, "round": number}
                    try:
                        rows.append(about | _sample(name, profile, head, upstream_port, seconds))
                    except (Failed, OSError) as error:
                        failed[name] = f"{profile}, {head}: {error}"
                        print(f"{name}: {failed[name]}", flush=True)
                    else:
                        print(f"{number} {profile} {head} {name}: {rows[-1]['cpu_us']:.1f} µs/call", flush=True)
    return rows, failed


def _sample(name: str, profile: str, head: str, upstream_port: int, seconds: float) -> Row:
    peer = PEERS[name]
    load, tenants = HEADS[head]
    with standing(peer, LIMITS[profile], upstream_port) as stand:
        check(stand, name)
        return asdict(measure(stand, load, seconds, tenants=tenants))
