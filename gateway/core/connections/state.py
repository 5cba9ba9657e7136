"""In which state a connection (one tenant's link to one outside system) is, told from how its attempts went.

Conditions are kept apart and the worst one in force names the state:

    condition          begins with                                     ends with
    offline            OFFLINE_FAILURES failures in a row and no       an answer to an attempt that began later
                       answer for OFFLINE_AFTER_US
    offline            a breaker refusing; there may be several        an answer to an attempt that began later and that
                                                                       this breaker let through, or OTHER_US later any
    auth_required      401                                             a success that began SAME_US later on the same
    permission_denied  403                                             operation or OTHER_US later on any; the other one
    rate_limited       429, or a pause in force                        the time the upstream gave, else OTHER_US
    degraded           failures are 10 % of what was lately tried      less than 5 %, or a minute or two without
    online             none of these

An answer is anything but a failure: a refused credential shows that the other side is there. What was tried lately
halves every HALF_LIFE_US, so a failure is recent for one to two minutes; the end of `offline` begins anew.
Reports come late and from several workers: an attempt that began before the trouble says nothing about its end.

Pure. Times are microseconds of one clock, the store's; a report says how long ago things were. The scripts
`connection_state.lua` and `connection_counts.lua` of `gateway/store/lua/` are second implementations, tested equal.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from gateway.core.connections.counts import Bucket, Row, counted
from gateway.core.units import MINUTE_US, SECOND_US

OFFLINE_FAILURES = 5
OFFLINE_AFTER_US = 10 * SECOND_US
SAME_US = 5 * SECOND_US
OTHER_US = MINUTE_US
HALF_LIFE_US = MINUTE_US
WEIGHT = 1024  # of one attempt at first
LEAST_WEIGHT = 512  # one attempt, halved once: less is no longer recent
ENTER_SHARE, LEAVE_SHARE = 10, 20  # one in so many
NEVER = -1


class ConnectionState(StrEnum):
    """Worst first."""

    OFFLINE = "offline"
    AUTH_REQUIRED = "auth_required"
    PERMISSION_DENIED = "permission_denied"
    RATE_LIMITED = "rate_limited"
    DEGRADED = "degraded"
    ONLINE = "online"


class Named(NamedTuple):
    """Which connection: two tenants may call theirs alike. `names.py` makes it; `tenant` may be ""."""

    tenant: str
    connection: str


class Failure(NamedTuple):
    """The latest attempt that was not answered well. `at_us` NEVER = there was none."""

    at_us: int = NEVER
    error_class: str = ""
    status: int = 0
    request_id: str = ""
    operation: str = ""
    entity: str = ""


class Report(NamedTuple):
    """What one worker saw of one connection since its last report. Ages: how long ago, NEVER = not at all.

    rows          attempts by operation and entity
    failures      how many of the failed ones were failures of the other side
    tail          how many of those after the last answer
    answer_us     age of the latest beginning of an attempt that was answered
    denied        AUTH_REQUIRED or PERMISSION_DENIED, whichever came last, or None
    denied_us     its age, with the operation and entity that met it
    limited_us    how long from now the upstream is to be left alone; 0 = not at all
    shut          by breaker: age of its latest refusal; "" = what a policy says means offline, ended by any answer
    through       by breaker: age of the latest beginning of an answered attempt that it let through, as far as noted
    failure       the latest attempt that did not go well; its `at_us` is an age
    """

    rows: tuple[Row, ...] = ()
    failures: int = 0
    tail: int = 0
    answer_us: int = NEVER
    denied: ConnectionState | None = None
    denied_us: int = NEVER
    denied_operation: str = ""
    denied_entity: str = ""
    limited_us: int = 0
    shut: tuple[tuple[str, int], ...] = ()
    through: tuple[tuple[str, int], ...] = ()
    failure: Failure = Failure()


class Track(NamedTuple):
    """What is remembered of one connection.

    state, since_us          the state as it was last told, and since when
    streak                   failures since the last answer
    answered_us              when the latest attempt was answered, as far as reports say
    offline_us               when failures in a row took the connection offline; NEVER = they have not
    recovered_us             when the answer began that ended that: failures of before are no news
    denied...                the latest refused credential, until a success ends it
    limited_until_us         when the upstream may be asked again
    ok_weight, failed_weight, halved_us   what was lately tried, and when that was last halved
    success_us               when the latest success was reported
    shut                     breakers that refuse, by name, each with its latest refusal
    """

    state: ConnectionState = ConnectionState.ONLINE
    since_us: int = 0
    streak: int = 0
    answered_us: int = NEVER
    offline_us: int = NEVER
    recovered_us: int = NEVER
    denied: ConnectionState | None = None
    denied_us: int = NEVER
    denied_operation: str = ""
    denied_entity: str = ""
    limited_until_us: int = 0
    ok_weight: int = 0
    failed_weight: int = 0
    halved_us: int = 0
    success_us: int = NEVER
    failure: Failure = Failure()
    shut: tuple[tuple[str, int], ...] = ()
    buckets: tuple[Bucket, ...] = ()


class Status(NamedTuple):
    """One connection as it is remembered."""

    named: Named
    track: Track


class Transition(NamedTuple):
    """A connection's state has changed; `status` is how it is now."""

    before: ConnectionState
    before_since_us: int
    status: Status


NOTHING_NEW = Report()


def new_track(now_us: int) -> Track:
    """Of a connection that nobody has used yet: taken to be online until shown otherwise."""
    return Track(since_us=now_us, halved_us=now_us)


def reported(track: Track, report: Report, now_us: int) -> Track:
    """The track with a report taken in, after time has done its part. Another state than before is a transition."""
    track = _made_good(track, now_us)
    told, since_us = track.state, track.since_us
    track = _halved(track, now_us)
    track = track._replace(state=_state(track, now_us))
    track = _offline(track, report, now_us)
    track = _denied(track, report, now_us)
    answered = sum(row.ok + row.rejected for row in report.rows)
    track = track._replace(
        limited_until_us=max(track.limited_until_us, now_us + report.limited_us if report.limited_us else 0),
        ok_weight=track.ok_weight + WEIGHT * answered,
        success_us=max([track.success_us, *(now_us - row.ended_us for row in report.rows if row.ok)]),
        failure=_latest(track.failure, report.failure, now_us),
        buckets=counted(track.buckets, report.rows, now_us),
    )
    state = _state(track, now_us)
    return track._replace(state=state, since_us=since_us if state is told else now_us)


def settled(track: Track, now_us: int) -> Track:
    """The track as time alone has changed it: what is rate limited or degraded ends by itself."""
    return reported(track, NOTHING_NEW, now_us)


def ends_by_itself_us(track: Track) -> int:
    """When `settled` may change the state; NEVER if time alone does not."""
    if track.state is ConnectionState.RATE_LIMITED:
        return track.limited_until_us
    if track.state is not ConnectionState.DEGRADED:
        return NEVER
    weight, halvings = track.failed_weight, 0
    while weight >= LEAST_WEIGHT:
        weight //= 2
        halvings += 1
    return track.halved_us + halvings * HALF_LIFE_US


def _made_good(track: Track, now_us: int) -> Track:
    """After a backward step of the clock: nothing was later than now, and all moments keep their distances. Else what
    comes would be older than the trouble that it ends, until the clock is where it was."""
    latest_us = max(track.since_us, track.answered_us, track.offline_us, track.recovered_us, track.denied_us)
    latest_us = max(latest_us, track.halved_us, track.success_us, track.failure.at_us, *(at for _, at in track.shut))
    if latest_us <= now_us:
        return track

    def back(at_us: int) -> int:
        return at_us if at_us < 0 else max(0, at_us - (latest_us - now_us))

    return track._replace(
        since_us=back(track.since_us),
        answered_us=back(track.answered_us),
        offline_us=back(track.offline_us),
        recovered_us=back(track.recovered_us),
        denied_us=back(track.denied_us),
        limited_until_us=back(track.limited_until_us),
        halved_us=back(track.halved_us),
        success_us=back(track.success_us),
        failure=track.failure._replace(at_us=back(track.failure.at_us)),
        shut=tuple((name, back(at_us)) for name, at_us in track.shut),
    )


def _halved(track: Track, now_us: int) -> Track:
    halvings = (now_us - track.halved_us) // HALF_LIFE_US
    if halvings <= 0:
        return track
    return track._replace(
        ok_weight=track.ok_weight >> halvings,
        failed_weight=track.failed_weight >> halvings,
        halved_us=track.halved_us + halvings * HALF_LIFE_US,
    )


def _offline(track: Track, report: Report, now_us: int) -> Track:
    """Failures in a row, breakers, and being offline by them: first what begins it, then what ends it."""
    old = report.failure.at_us >= 0 and now_us - report.failure.at_us < track.recovered_us
    failures, tail = (0, 0) if old else (report.failures, report.tail)
    began_us = now_us - report.answer_us if report.answer_us >= 0 else NEVER
    answered_us = max(track.answered_us, began_us)
    streak = tail if report.answer_us >= 0 else track.streak + failures
    offline_us = track.offline_us
    if offline_us < 0 and failures and streak >= OFFLINE_FAILURES and now_us - answered_us >= OFFLINE_AFTER_US:
        offline_us = now_us
    shut = _refusing(track._replace(answered_us=answered_us), report, now_us)
    left = tuple(sorted((name, at_us) for name, at_us in shut.items() if not _passed(name, at_us, report, now_us)))
    ended = 0 <= offline_us < began_us
    track = track._replace(
        streak=streak,
        answered_us=answered_us,
        offline_us=NEVER if ended else offline_us,
        shut=left,
        failed_weight=track.failed_weight + WEIGHT * failures,
    )
    if (ended or shut) and track.offline_us < 0 and not left:
        return track._replace(recovered_us=began_us, ok_weight=0, failed_weight=WEIGHT * tail)
    return track


def _refusing(track: Track, report: Report, now_us: int) -> dict[str, int]:
    """Breakers that have refused and not been passed since, each with its latest refusal."""
    shut = dict(track.shut)
    for name, age_us in report.shut:
        if now_us - age_us >= (track.recovered_us if name else track.answered_us):
            shut[name] = max(now_us - age_us, shut.get(name, NEVER))
    return shut


def _passed(name: str, refused_us: int, report: Report, now_us: int) -> bool:
    """Whether the report has an answer that shows that this breaker refuses no more."""
    if not name:
        return report.answer_us >= 0 and now_us - report.answer_us > refused_us
    through = any(one == name and now_us - age_us > refused_us for one, age_us in report.through)
    return through or (report.answer_us >= 0 and now_us - report.answer_us >= refused_us + OTHER_US)


def _denied(track: Track, report: Report, now_us: int) -> Track:
    """Refused credentials: the latest counts, until a success that began well after it."""
    if report.denied is not None and now_us - report.denied_us >= track.denied_us:
        track = track._replace(
            denied=report.denied,
            denied_us=now_us - report.denied_us,
            denied_operation=report.denied_operation,
            denied_entity=report.denied_entity,
        )
    if track.denied is not None and any(_ends_denial(track, row, now_us) for row in report.rows):
        return track._replace(denied=None)
    return track


def _ends_denial(track: Track, row: Row, now_us: int) -> bool:
    same = (row.operation, row.entity) == (track.denied_operation, track.denied_entity)
    return row.ok > 0 and now_us - row.began_us >= track.denied_us + (SAME_US if same else OTHER_US)


def _latest(known: Failure, given: Failure, now_us: int) -> Failure:
    if given.at_us < 0 or now_us - given.at_us < known.at_us:
        return known
    return given._replace(at_us=now_us - given.at_us)


def _state(track: Track, now_us: int) -> ConnectionState:
    if track.offline_us >= 0 or track.shut:
        return ConnectionState.OFFLINE
    if track.denied is not None:
        return track.denied
    if track.limited_until_us > now_us:
        return ConnectionState.RATE_LIMITED
    share = LEAVE_SHARE if track.state is ConnectionState.DEGRADED else ENTER_SHARE
    failed = track.failed_weight
    failing = failed >= LEAST_WEIGHT and failed * share >= failed + track.ok_weight
    return ConnectionState.DEGRADED if failing else ConnectionState.ONLINE


def states_matching(text: str) -> Sequence[ConnectionState] | None:
    """What `?state=` asks for: names separated by commas, each perhaps with `!` for all others. None: not understood.

    Names add up, exclusions take away: `!online`, `offline,degraded`, `!online,!degraded`.
    """
    words = [word.strip() for word in text.split(",")]
    named = {word for word in words if not word.startswith("!")}
    excluded = {word[1:] for word in words if word.startswith("!")}
    if not (named | excluded) <= set(ConnectionState):
        return None
    return [state for state in ConnectionState if (not named or state in named) and state not in excluded]
