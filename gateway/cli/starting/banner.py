"""What a person sees when the gateway has started: where it listens, where it counts, and a call to try."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from gateway import __version__
from gateway.cli.showing.text import not_below
from gateway.core.http.authority import authority
from gateway.core.keys import KeyFrom, KeyPart
from gateway.core.policy import Match, PolicySet, Route
from gateway.policy.files import passed_over
from gateway.settings import Listen
from gateway.supervisor import Running

SAMPLE = "demo"
STORE_AWAY = "CANNOT BE USED NOW: each limit does what its on_store_error says; the log says why"


def banner(running: Running) -> str:
    """What has started, as a few lines of text."""
    settings = running.settings
    rows = [
        ("calls", url(settings.listen)),
        ("admin", url(settings.admin) if settings.admin else "off"),
        ("policies", f"{', '.join(running.policies.files)} (version {running.policies.version}){_not_below(running)}"),
        ("store", running.store_note if running.store_up else f"{running.store_note} {STORE_AWAY}"),
        ("workers", str(settings.workers)),
    ]
    sample = sample_call(running.policies, url(settings.listen))
    if sample:
        rows.append(("try", sample))
    return "\n".join([f"gateway {__version__}", *(f"  {name:<9} {value}" for name, value in rows)])


def _not_below(running: Running) -> str:
    """Nothing if they are not from the directory of the settings: `--upstream` brings its own."""
    directory, policies = running.settings.policies, running.policies
    if directory not in (Path(file).parent for file in policies.files):
        return ""
    return not_below(passed_over([directory], policies.beside))


def url(listen: Listen) -> str:
    """Where to reach a listening address from this host."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(listen.host, listen.host)  # noqa: S104
    return f"http{'s' if listen.tls else ''}://{authority(host, listen.port)}"


def sample_call(policies: PolicySet, base: str) -> str:
    """A `curl` command that the first limited route answers, with every key part it needs; "" without such a route.

    A route that asks for credentials only if there is no other: nobody but the caller knows them.
    """
    limited = sorted((route for route in policies.routes if route.limits), key=lambda route: bool(route.authenticate))
    route = next(iter(limited), None)
    if route is None:
        return ""
    words = ["curl", "-i", *_curl_options(route), base + _path(route.match) + _query(route)]
    return " ".join(word if word in ("curl", "-i", "-H", "-X") else shlex.quote(word) for word in words)


def _curl_options(route: Route) -> Iterator[str]:
    match = route.match
    if match.methods and "GET" not in match.methods:
        yield from ("-X", min(match.methods))
    if match.host:
        yield from ("-H", "Host: " + match.host.replace("*", SAMPLE))
    for name, value in match.headers:
        yield from ("-H", f"{name.title()}: {value or SAMPLE}")
    for scheme in route.authenticate[:1]:
        yield from ("-H", f"{scheme.header.title()}: {'Bearer ' * (scheme.header == 'authorization')}YOUR-CREDENTIALS")
    for part in _needed(route):
        if part.source in (KeyFrom.HEADER, KeyFrom.API_KEY):
            yield from ("-H", f"{part.source_name.title()}: {SAMPLE}")


def _needed(route: Route) -> Iterator[KeyPart]:
    """The key parts by which the route's limits count, each once, in the limits' order."""
    parts = {part.name: part for part in route.keys}
    names = dict.fromkeys(name for limit in route.limits for name in limit.key)
    return (parts[name] for name in names if name in parts)


def _path(match: Match) -> str:
    pattern = match.path
    if pattern is None or pattern.segments is None:
        return ((pattern and pattern.prefix) or "").rstrip("/") + "/hello"
    return "/" + "/".join(SAMPLE if "{" in text or "*" in text else text for text in pattern.segments)


def _query(route: Route) -> str:
    names = [part.source_name for part in _needed(route) if part.source is KeyFrom.QUERY]
    return "?" + "&".join(f"{name}={SAMPLE}" for name in names) if names else ""
