"""What calls before have found out about request lines that begin as this one does: most lines of a caller are new, and
lead where the last one did.

`accept` looks here for a call whose line has never come; `identify` writes here what it would find out again.
"""

from typing import NamedTuple

from gateway.call import Alike, Call
from gateway.core.policy import PolicySet
from gateway.core.routing.lead import Lead, lead
from gateway.core.routing.resolve import Resolved

MOST_TRIES = 8
"""For lines of one method and first segment: where leads are not to be found, they are not looked for in each call."""

_Key = tuple[str, str, str]


class _Led(NamedTuple):
    """Lines of one method that begin as the lead has it, from one peer, with the same fields, are alike."""

    peer_ip: str
    method: str
    lead: Lead
    alike: Alike


class _Leads(NamedTuple):
    """What is known of lines of one method and first segment, from one peer, with the same fields."""

    policies: PolicySet
    tries: int
    found: tuple[_Led, ...]


def follow_lead(call: Call) -> bool:
    """Make a call one of those whose lines begin alike, if there is such a lead: then it is identified. Nothing has
    been written into its record yet."""
    request = call.request
    block = request.head.block
    led: _Led | None = block.led
    if led is not None:
        peer_ip, method, one, alike = led
        if method == request.head.method and peer_ip == request.connection.peer_ip and _follow(call, one, alike):
            return True
    known: _Leads | None = block.remembered.get(_key(call))
    if known is not None:
        for led in known.found:
            if _follow(call, led.lead, led.alike):
                block.led = led
                return True
    return False


def _follow(call: Call, one: Lead, alike: Alike) -> bool:
    target = one.follow(call.target)
    if target is None or alike.policies is not call.policies:
        return False
    call.target = target
    alike.begin(call)
    remember_line(call, alike)
    return True


def look_for_lead(call: Call, resolved: Resolved, alike: Alike) -> None:
    """Remember where lines like this call's lead. They have led there twice, so its fields are remembered."""
    head = call.request.head
    key = _key(call)
    if not key[-1] or head.block.memory is None:
        return
    known: _Leads | None = head.block.remembered.get(key)
    if known is None or known.policies is not call.policies:
        known = _Leads(call.policies, MOST_TRIES, ())
    if not known.tries:
        return
    found = lead(call.policies, head, call.record.http_host, resolved)
    same = call.gateway.facts.same
    peer_ip, method, _ = key = same(key)
    more = (_Led(peer_ip, method, same(found), alike),) if found is not None else ()
    head.block.keep(key, _Leads(call.policies, known.tries - 1, known.found + more))


def remember_line(call: Call, alike: Alike) -> None:
    """A call with the same line and fields is this one again."""
    head = call.request.head
    if head.remembered is not None:
        head.keep(call.record.peer_ip, (alike, call.target))


def _key(call: Call) -> _Key:
    """Also what the line begins with, up to the border of its first segment; "" = there is none."""
    request = call.request
    target = request.head.target
    return request.connection.peer_ip, request.head.method, target[: target.find("/", 1) + 1]
