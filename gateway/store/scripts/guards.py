"""Breakers and pauses on the wire: how the scripts are told of them, and what they answer.

`admit.lua`, `report.lua`, `force.lua` and `pause.lua` describe the formats, `circuit.lua` and `pause.lua` what is kept;
a test holds their headers and the names here together.
"""

from collections.abc import Sequence
from struct import Struct, unpack_from

from gateway.core.guards import Breaker, Change, Guard, Pausing, Reason, Report, Standing, State
from gateway.core.guards.breaker import Circuit
from gateway.core.guards.pause import Pause
from gateway.core.guards.tallies import PARTS, Tallies
from gateway.store.connection.link import Argument

GUARD_FIELDS = (("kind", 1), ("most", 2), ("permit_us", 6), ("longest_us", 6))
STANDING_FIELDS = (("state", 1), ("wait_us", 8), ("generation", 4), ("probe", 8), ("urgent", 1), ("moved", 1))
_STANDING = Struct(">BqIq??")
REPORT_ARGV, FORCE_ARGV = ("op", "now_us"), ("op", "now_us", "state", "for_us")
LIST_ARGV = ("op", "now_us", "breaker", "for_us")
PAUSE_ARGV, PAUSE_REPLY = ("op", "now_us", "for_us", "longest_us", "left"), ("began", "wait_us")
_NUMBERS = (
    ("window_us", 6),
    ("minimum_calls", 4),
    ("failure_ppm", 4),
    ("slow_ppm", 4),
    ("consecutive_failures", 4),
    ("open_us", 6),
    ("growth_milli", 4),
    ("max_open_us", 6),
    ("close_after", 4),
)
_HAPPENED = (("generation", 4), ("probe", 7), ("passed", 4), ("failed", 4), ("slow", 4), ("longer_us", 6))
_HAPPENED_FORMAT = Struct(">IQIIIQ")
REPORT_FIELDS = _NUMBERS + _HAPPENED
MOST_PACKED = 1_000
CHANGE_FIELDS = ("report", *Change._fields)

LIST = "breakers"
"""Where the keys of breakers are listed that are not closed."""

_STATE_CODES = {State.CLOSED: 0, State.OPEN: 1, None: 2}
_BREAKER, _PAUSE = 1, 2
_CIRCUIT_FORMAT, _PAUSE_FORMAT = 0x51, 0x61
_CIRCUIT_SIZES = (1, 1, 1, 4, 7, 7, 6, 4, 1, 4, 4, 4, 1)
_PROBE_BYTES = 7
_PAUSE_SIZES = (1, 1, 7)
_COUNTING_SIZES = (*_PAUSE_SIZES, 4, 7)


def pack_guards(guards: Sequence[Guard]) -> bytes:
    """The rules of all guards as one argument."""
    return b"".join(_guard(guard.rule) for guard in guards)


def _guard(rule: Breaker | Pausing) -> bytes:
    if isinstance(rule, Pausing):
        return _packed((_PAUSE, 0, 0, rule.max_us), GUARD_FIELDS)
    known = _packed_guards.get(id(rule))
    if known is None:
        if len(_packed_guards) >= MOST_PACKED:
            _packed_guards.clear()
        packed = _packed((_BREAKER, rule.half_open_calls, rule.permit_us, rule.max_open_us), GUARD_FIELDS)
        known = _packed_guards[id(rule)] = (rule, packed)
    return known[1]


def decode_standings(packed: bytes, guards: int) -> tuple[Standing, ...]:
    """The standings in ADMIT's reply; none = there is nothing to say. Raises ValueError when they do not fit the
    guards."""
    if packed and len(packed) != _STANDING.size * guards:
        raise ValueError(f"{len(packed)} bytes in the reply for {guards} guards")
    return tuple(Standing(State(state), *numbers) for state, *numbers in _STANDING.iter_unpack(packed))


def encode_report(reports: Sequence[Report], prefix: str, *, listed: bool = True, now_us: int = 0) -> list[Argument]:
    """The arguments of REPORT after the sha.

    listed  False: the list of breakers is somewhere else; see `encode_list`
    """
    keys = [*[prefix + report.guard.key for report in reports], *([prefix + LIST] if listed else ())]
    return [len(keys), *keys, "report", now_us, *map(_report, reports)]


def _report(report: Report) -> bytes:
    """Of thousands of breakers most have the same to tell: one good call."""
    rule, happened = report[0].rule, report[1:]
    known = _packed_reports.get((id(rule), happened))
    if known is None:
        if len(_packed_reports) >= MOST_PACKED:
            _packed_reports.clear()
        packed = _HAPPENED_FORMAT.pack(*happened)
        known = rule, _numbers(rule) + packed[:4] + packed[5:24] + packed[26:]  # the probe has 7 bytes, longer_us 6
        _packed_reports[id(rule), happened] = known
    return known[1]


def _numbers(rule: Breaker | Pausing) -> bytes:
    """Packed once for each rule: a flood of callers makes as many reports."""
    known = _packed_rules.get(id(rule))
    if known is None:
        assert isinstance(rule, Breaker), "a pause hears of no outcomes"
        if len(_packed_rules) >= MOST_PACKED:
            _packed_rules.clear()
        packed = _packed([getattr(rule, name) for name, _ in _NUMBERS], _NUMBERS)
        known = _packed_rules[id(rule)] = (rule, packed)
    return known[1]


_packed_rules: dict[int, tuple[Breaker, bytes]] = {}
_packed_guards: dict[int, tuple[Breaker, bytes]] = {}
"""By identity of the rule; holding it keeps its identity from being used again."""
_packed_reports: dict[tuple[int, tuple[int, ...]], tuple[Breaker | Pausing, bytes]] = {}
"""The same, and by what happened."""


def encode_force(
    guard: Guard, state: State | None, for_us: int, prefix: str, *, listed: bool = True, now_us: int = 0
) -> list[Argument]:
    """The arguments of FORCE after the sha; `listed` as with `encode_report`."""
    keys = [prefix + guard.key, *([prefix + LIST] if listed else ())]
    return [len(keys), *keys, "force", now_us, _STATE_CODES[state], for_us]


def encode_list(guard: Guard, for_us: int, prefix: str, *, now_us: int) -> list[Argument]:
    """The arguments of LIST_ONE after the sha: what REPORT and FORCE do with the list when it is with the breakers."""
    return [1, prefix + LIST, "list", now_us, prefix + guard.key, for_us]


def decode_changes(reply: Sequence[int], reports: int) -> tuple[Change | None, ...]:
    """For each report what it changed, from the reply of REPORT or FORCE."""
    changes: list[Change | None] = [None] * reports
    for at in range(0, len(reply), len(CHANGE_FIELDS)):
        which, state, reason, *counts = reply[at : at + len(CHANGE_FIELDS)]
        changes[which - 1] = Change(State(state), Reason(reason), *counts)
    return tuple(changes)


def encode_pause(guard: Guard, for_us: int, prefix: str, *, now_us: int = 0, left: int = 0) -> list[Argument]:
    """The arguments of PAUSE after the sha."""
    assert isinstance(guard.rule, Pausing), "a breaker is not paused"
    return [1, prefix + guard.key, "pause", now_us, for_us, guard.rule.max_us, left]


def decode_pause(reply: Sequence[int], _context: object) -> tuple[bool, int]:
    """(whether a pause began, for how long anything is remembered), from PAUSE's reply."""
    began, wait_us = reply
    return began == 1, wait_us


def unpack_kept(rule: Breaker | Pausing, packed: bytes | None) -> Circuit | Pause:
    """What a key holds; what is remembered of nobody when it holds nothing, or something else."""
    if isinstance(rule, Pausing):
        return _pause(packed or b"")
    if not packed or len(packed) < sum(_CIRCUIT_SIZES) or packed[0] != _CIRCUIT_FORMAT:
        return Circuit()
    _, _, state, *times, in_a_row, reason, calls, failed, slow, probes = _unpacked(packed, _CIRCUIT_SIZES)
    generation, since_us, until_us, open_us = times
    begin = sum(_CIRCUIT_SIZES)
    end = begin + _PROBE_BYTES * probes
    ends_us = tuple(_unpacked(packed[begin:end], (_PROBE_BYTES,) * probes))
    return Circuit(
        State(state),
        generation,
        since_us,
        until_us,
        open_us,
        in_a_row,
        Reason(reason),
        calls,
        failed,
        slow,
        ends_us,
        _tallies(packed[end:]),
    )


def _pause(packed: bytes) -> Pause:
    for sizes in (_PAUSE_SIZES, _COUNTING_SIZES):
        if len(packed) == sum(sizes) and packed[0] == _PAUSE_FORMAT:
            return Pause(*_unpacked(packed, sizes)[2:])
    return Pause()


def _tallies(packed: bytes) -> Tallies:
    if not packed:
        return Tallies()
    width_us, newest = _unpacked(packed, (6, 7))
    counts = unpack_from(f">{3 * PARTS}I", packed, 13)
    return Tallies(width_us, newest, tuple(zip(counts[::3], counts[1::3], counts[2::3], strict=True)))


def _packed(values: Sequence[int], fields: Sequence[tuple[str, int]]) -> bytes:
    return b"".join(value.to_bytes(size, "big") for value, (_, size) in zip(values, fields, strict=True))


def _unpacked(packed: bytes, sizes: Sequence[int]) -> list[int]:
    values, at = [], 0
    for size in sizes:
        values.append(int.from_bytes(packed[at : at + size], "big"))
        at += size
    return values
