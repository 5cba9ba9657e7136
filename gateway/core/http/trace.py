"""W3C Trace Context: continue the caller's trace or start one."""

import re

_TRACEPARENT = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)  # level 1, §3.2.2: all zeros is no id, and a later version may say more
_NO_SPAN, _SOME_SPAN = "0" * 16, "0" * 15 + "1"
_ID_BITS = 64
_KNOWN_FLAGS = 0x03
"""sampled (level 1, §3.2.2.5) and random (level 2, §3.2.2.5.2); all others have to be passed on as zero."""
_FLAGS = {f"{bits:02x}": f"{bits & _KNOWN_FLAGS:02x}" for bits in range(256)}
SAMPLED = frozenset({"01", "03"})
"""Flags of traces that are recorded."""
ALL_SAMPLED = 1 << _ID_BITS

Trace = tuple[str, str, str, str]
"""The trace a call belongs to, our own span in it, its flags, and the caller's span ("": the trace begins here).
Lower-case hex."""


def parent_field(trace_id: str, span_id: str, flags: str) -> str:
    """`traceparent` for the upstream."""
    return f"00-{trace_id}-{span_id}-{flags}"


def new_span(random_64: int) -> str:
    """Another span of ours in the same trace."""
    return f"{random_64:016x}" if random_64 else _SOME_SPAN


def outer_span(span_id: str) -> str:
    """The span around `span_id`: always the same one for it, and its own only."""
    return new_span(int(span_id, 16) ^ (1 << _ID_BITS - 1))


def continue_or_start(traceparent: str | None, random_128: int, sampled_below: int = 0) -> Trace:
    """Keep a valid trace id, replace the parent id; otherwise begin a trace. Both ids come from `random_128`.

    The two random parts overlap only when a trace is started, where the span id is the low half of the trace id;
    that is unique enough and costs one random number.

    sampled_below  of the traces begun here those are sampled whose low half is less: 0 = none, ALL_SAMPLED = all
    """
    new_id = f"{random_128:032x}"
    span_id = new_id[16:]
    if span_id == _NO_SPAN:
        new_id, span_id = new_id[:16] + _SOME_SPAN, _SOME_SPAN
    if traceparent is not None:
        match = _TRACEPARENT.fullmatch(traceparent.strip())
        if match is not None:
            version, trace_id, parent_id, flags, more = match.groups()
            if more is None or version != "00":
                return trace_id, span_id, _FLAGS[flags], parent_id
    return new_id, span_id, "01" if sampled_below and int(span_id, 16) < sampled_below else "00", ""
