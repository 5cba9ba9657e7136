"""The URL that says where the store is: split into what is needed to connect, and its form without secrets.

`redis://[user[:password]@]host[:port][/db]`, `rediss://` for TLS, `unix://[user[:password]@]/path[?db=1]`,
`redis+sentinel://[user[:password]@]host[:port],host[:port]/service[/db]`, and
`redis+cluster://[user[:password]@]host[:port],host[:port]` (`rediss+...://` for TLS). Credentials and paths are
percent-encoded. Options of the query are those of `OPTIONS`.
"""

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

REDIS_PORT = 6379
SENTINEL_PORT = 26379
HIDDEN = "***"

OPTIONS = frozenset(
    {
        "db",
        "password",
        "protocol",
        "sentinel_password",
        "sentinel_username",
        "ssl_ca_certs",
        "ssl_cert_reqs",
        "ssl_certfile",
        "ssl_check_hostname",
        "ssl_keyfile",
        "ssl_password",
        "username",
    }
)
_SHOWN_OPTIONS = frozenset({"db", "protocol", "ssl_cert_reqs", "ssl_check_hostname"})
SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
_NO_HOST = (
    "not host[:port] with a number of at most 65535 as its port; "
    "signs in a user name or password must be percent-encoded (%40 for at)"
)
_PLAIN_HOSTS = re.compile(r"[A-Za-z0-9.,:\[\]_-]*\Z")
_TRUE, _FALSE = ("1", "true", "yes"), ("0", "false", "no")


@dataclass(frozen=True, slots=True)
class StoreUrl:
    """What a store URL says. Its `repr` shows no secrets.

    hosts    (host, port) of the server, of every Sentinel, or of some servers of a cluster; empty for a unix socket
    path     of the unix socket, else empty
    service  name the Sentinels know the primary by, else empty
    cluster  whether it is a Redis Cluster
    resp     protocol version, 2 or 3
    tls      None, or redis-py's `ssl_*` connection arguments
    """

    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    service: str = ""
    cluster: bool = False
    db: int = 0
    resp: int = 2
    tls: dict[str, str | bool] | None = None
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = field(default=None, repr=False)
    sentinel_password: str | None = field(default=None, repr=False)


def redact_url(url: str) -> str:
    """The URL as it may be shown: user, password and every option that might be secret become `***`.

    Works on any text, however malformed: where it is unclear which part is secret, all of it is hidden.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url if url in ("embedded", "local") else HIDDEN
    if scheme not in SCHEMES:
        return f"{scheme}://{HIDDEN}" if re.fullmatch(r"[a-z+.-]+", scheme) else HIDDEN
    secret, at, shown = rest.rpartition("@")
    place, mark, query = shown.partition("?")
    hosts, slash, path = place.partition("/")
    if "?" in secret or not _PLAIN_HOSTS.match(hosts) or not (at or _ports_are_numbers(hosts)):
        return f"{scheme}://{HIDDEN}"
    options = "&".join(_shown_option(option) for option in query.split("&")) if mark else ""
    return f"{scheme}://{HIDDEN + at if at else ''}{hosts}{slash}{path}{mark}{options}"


def _ports_are_numbers(hosts: str) -> bool:
    """Without this `redis://:secret` (the `@host` forgotten) would show its password as a port."""
    return all(re.fullmatch(r"(\[[^\]]*\]|[^:\[\]]*)(:\d+)?", host) for host in hosts.split(",")) and hosts[:1] != ":"


def _shown_option(option: str) -> str:
    name, equals, _ = option.partition("=")
    if name in _SHOWN_OPTIONS:
        return option
    return f"{name}={HIDDEN}" if equals and name in OPTIONS else HIDDEN


def parse_url(url: str) -> StoreUrl:
    """Split a store URL. Raises ValueError with a text that shows no secret."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in SCHEMES:
        raise ValueError(f"store URL {redact_url(url)}: must start with one of {', '.join(s + '://' for s in SCHEMES)}")
    try:
        return _parse(scheme, rest)
    except ValueError as error:
        raise ValueError(f"store URL {redact_url(url)}: {error}") from None


def _parse(scheme: str, rest: str) -> StoreUrl:
    place, _, query = rest.partition("?")
    options = _options(query)
    authority, slash, path = place.partition("/")
    credentials, _, hosts = authority.rpartition("@")
    username, _, password = (unquote(part) for part in credentials.partition(":"))
    unix, sentinel, cluster = scheme == "unix", scheme.endswith("+sentinel"), scheme.endswith("+cluster")
    if unix and (hosts or not path):
        raise ValueError("a unix URL has three slashes and an absolute path: unix:///run/redis.sock")
    service, db = _service_and_db(path) if sentinel else ("", "" if unix else path)
    number = _number("the database (after the / or db=)", options.get("db") or db or "0")
    if cluster and number:
        raise ValueError("a Redis Cluster has no database but 0")
    port = SENTINEL_PORT if sentinel else REDIS_PORT
    return StoreUrl(
        hosts=() if unix else _hosts(hosts, port, many=sentinel or cluster),
        path=unquote(slash + path) if unix else "",
        service=unquote(service),
        cluster=cluster,
        db=number,
        resp=_number("protocol", options.get("protocol", "2"), allowed=(2, 3)),
        tls=_tls(options) if scheme.startswith("rediss") else None,
        username=options.get("username") or username or None,
        password=options.get("password") or password or None,
        sentinel_username=options.get("sentinel_username"),
        sentinel_password=options.get("sentinel_password"),
    )


def _service_and_db(path: str) -> tuple[str, str]:
    """The path of a Sentinel URL: the name of the service, and the database, if there is one."""
    service, _, db = path.partition("/")
    if not service:
        raise ValueError("the name of the service is missing: redis+sentinel://host:26379/mymaster")
    return service, db


def _options(query: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    unknown = sorted(set(options) - OPTIONS)
    if unknown:
        raise ValueError(f"unknown option in the query; the options are {', '.join(sorted(OPTIONS))}")
    return options


def _hosts(text: str, port: int, *, many: bool) -> tuple[tuple[str, int], ...]:
    """`host`, `host:port`, `[v6]:port`; several only if `many`. Never quotes the text: it may hold a password whose `@`
    or `/` was not percent-encoded."""
    found = []
    for part in text.split(","):
        match = re.fullmatch(r"(?:\[([^\]]+)\]|([^:\[\]]+))(?::(\d{1,5}))?", part)
        if match is None or not 0 < int(match[3] or REDIS_PORT) < 65536:
            raise ValueError(_NO_HOST)
        found.append((match[1] or match[2], int(match[3] or port)))
    if len(found) > 1 and not many:
        raise ValueError("several hosts are only possible with redis+sentinel:// and redis+cluster://")
    return tuple(found)


def _number(name: str, text: str, allowed: tuple[int, ...] = ()) -> int:
    if not re.fullmatch(r"\d{1,5}", text) or (allowed and int(text) not in allowed):
        raise ValueError(f"{name} must be {' or '.join(map(str, allowed)) or 'a number'}")
    return int(text)


def _tls(options: dict[str, str]) -> dict[str, str | bool]:
    arguments: dict[str, str | bool] = {name: value for name, value in options.items() if name.startswith("ssl_")}
    if "ssl_check_hostname" in arguments:
        text = str(arguments["ssl_check_hostname"]).lower()
        if text not in _TRUE + _FALSE:
            raise ValueError("ssl_check_hostname must be true or false")
        arguments["ssl_check_hostname"] = text in _TRUE
    if arguments.get("ssl_cert_reqs", "required") not in ("required", "optional", "none"):
        raise ValueError("ssl_cert_reqs must be required, optional or none")
    return arguments
