"""What a policy set says of an upstream: where it is, how long it is waited for, what is learned from it, its pace."""

from dataclasses import dataclass, field

from gateway.core.access.credentials import Credential
from gateway.core.document import Pointer
from gateway.core.http.own_fields import OwnFields
from gateway.core.http.signals import Honor


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Per-phase bounds of one attempt, microseconds. `total_us` ends even a flowing answer; 0 = no such bound."""

    connect_us: int = 2_000_000
    first_byte_us: int = 20_000_000
    idle_us: int = 30_000_000
    total_us: int = 0


@dataclass(frozen=True, slots=True)
class Wording:
    """What bodies say that mean "too many calls": one of these values, at this place in the JSON of such an answer."""

    statuses: frozenset[int]
    pointer: Pointer
    values: tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Learning:
    """What is learned from an upstream's answers: how long to leave it alone.

    honor     families of fields that are listened to
    key       names of the key parts of which one combination is left alone, no other; () = the upstream as a whole
    max_us    nothing that is learned holds for longer
    as_limit  whether no more calls are sent than the upstream says are left
    also_on   statuses that are taken for a 429 where the answer asks to wait
    otherwise_us  the pause after a 429 that does not say how long; 0 = none
    also_when  what bodies say of answers that are taken for a 429
    also_from  fields of its own that are listened to as well
    worded    the statuses of which bodies are looked at; made from `also_when`
    """

    honor: tuple[Honor, ...]
    key: tuple[str, ...]
    max_us: int = 900_000_000
    as_limit: bool = False
    also_on: frozenset[int] = frozenset()
    otherwise_us: int = 0
    also_when: tuple[Wording, ...] = ()
    also_from: tuple[OwnFields, ...] = ()
    worded: frozenset[int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        statuses = frozenset[int]().union(*(wording.statuses for wording in self.also_when))
        object.__setattr__(self, "worded", statuses)


@dataclass(frozen=True, slots=True)
class Pace:
    """Attempts are sent one after the other, `rate` every `per_us`, up to `burst` at once after a rest.

    key          names of the key parts whose values have a pace of their own; () = one for all
    queue        attempts that may wait for their turn; more are refused
    max_wait_us  the longest that one of them waits
    """

    rate: int
    per_us: int
    burst: int = 1
    key: tuple[str, ...] = ()
    queue: int = 100
    max_wait_us: int = 10_000_000


@dataclass(frozen=True, slots=True)
class Probe:
    """What an upstream is asked to see whether it is well.

    path         below the upstream's own
    expect       statuses that are well; empty = any below 500
    interval_us  how often its connections are asked without an operator's doing; 0 = never
    """

    method: str = "GET"
    path: str = "/"
    expect: frozenset[int] = frozenset()
    interval_us: int = 0


@dataclass(frozen=True, slots=True)
class Upstream:
    """One upstream API.

    host, port   where to connect; `builtin_echo` replaces both by the sample upstream inside the gateway
    base_path    path of the configured URL without trailing `/`; put before the forwarded path
    max_sockets  sockets in use at once per worker; 0 = no bound
    unix_path    connect to this unix socket instead of host and port
    allow_private  whether names may resolve to addresses that are not globally routable
    tls_*        PEM files for verification and client authentication, and a server name other than the host
    authority    value of the Host field when host_policy is `rewrite`
    learning, pace  None = nothing is learned from its answers, attempts are not paced
    credentials     what it is shown, in the order in which they are tried; () = what the caller sends. With
                    `credentials_optional` callers whom none is for are passed on as they come, else refused
    probe           what connection tests ask; None = what `Probe` says
    goes_on_us      how long it may go on with a call that was given up: so long that keeps its slots
                    These six do not make it another upstream: its sockets are kept when they change.
    """

    name: str
    scheme: str
    host: str
    port: int
    authority: str
    base_path: str = ""
    rewrite_host: bool = True
    timeouts: Timeouts = field(default_factory=Timeouts)
    max_sockets: int = 0
    builtin_echo: bool = False
    unix_path: str = ""
    allow_private: bool = True
    tls_ca_file: str = ""
    tls_certificate: str = ""
    tls_key: str = ""
    tls_server_name: str = ""
    source: str = field(default="", compare=False)
    learning: Learning | None = field(default=None, compare=False)
    pace: Pace | None = field(default=None, compare=False)
    credentials: tuple[Credential, ...] = field(default=(), compare=False)
    credentials_optional: bool = field(default=False, compare=False)
    probe: Probe | None = field(default=None, compare=False)
    goes_on_us: int = field(default=0, compare=False)
