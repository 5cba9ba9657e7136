"""An explanation for people: one line a fact, in the order in which the gateway finds out."""

from collections.abc import Iterator
from typing import Any

from gateway.cli.showing.text import files_named, plain, whose

Document = dict[str, Any]
WIDTH = 12


def lines(document: Document) -> Iterator[str]:
    """The explanation as lines of text. `document`: as `policy.explained` makes it, here or in a running gateway."""
    yield _row("call", " ".join(filter(None, (document["request"]["method"], document["request"]["target"]))))
    yield _row("policies", _policies(document["policies"]))
    yield _row("outcome", _outcome(document))
    for passed in document.get("passed_routes", ()):
        yield _row("", f"not route {passed['name']}" + (f": {passed['why']}" if passed["why"] else ""))
    route = document.get("route")
    if route is None:
        return
    yield _row("route", f"{route['name']} ({route['match']})", route["source"])
    for passed in document.get("passed_operations", ()):
        yield _row("", f"not operation {passed['name']}" + (f": {passed['why']}" if passed["why"] else ""))
    if "operation" in document:
        entity = f" on {document['entity']}" if "entity" in document else ""
        yield _row("operation", document["operation"] + entity)
    if "credentials" in document:
        checked = "" if document["credentials"]["checked"] else ", not checked"
        yield _row("credentials", f"{' or '.join(document['credentials']['schemes'])}{checked}")
    for key in document["keys"]:
        value = "none" if key["value"] is None else key["value"]
        yield _row("key", f"{key['name']} = {value} ({key['from']}, when missing: {key['on_missing']})")
    for limit in document["limits"]:
        yield from _limit(limit)
    yield from _beyond(document)


def _row(name: str, text: str, source: str = "") -> str:
    return f"{name:<{WIDTH}}{plain(text)}" + (f"  # {source}" if source else "")


def _policies(judged_by: Document) -> str:
    return f"{files_named(judged_by['files'])} (version {judged_by['version']})"


def _outcome(document: Document) -> str:
    if "refused" in document:
        refused = document["refused"]
        return f"refused with {refused['status']} {refused['code']}: {refused['detail']}"
    if "store" in document:
        return _without_store(document)
    decision = document.get("decision")
    asked = sum(limit["asked"] for limit in document["limits"])
    if decision is None:
        if not asked:
            return "asks no limit"
        what, they = ("limit", "it answers") if asked == 1 else ("limits", "they answer")
        return f"asks {asked} {what}; with --live also what {they}"
    if decision["admitted"]:
        return "admitted, if it came now"
    why = decision.get("held_by") or ", ".join(decision["limits"])
    return f"refused by {why}; again in {decision['retry_after_s']} s"


def _without_store(document: Document) -> str:
    store = document["store"]
    if store["refusing"]:
        return f"refused with 503: the store is away ({store['reason']}), and {', '.join(store['refusing'])} says deny"
    postures = ", ".join(f"{limit['name']} {limit['on_store_error']}" for limit in document["limits"] if limit["asked"])
    return f"decided without the store, which is away ({store['reason']}): {postures or 'nothing is asked of it'}"


def _limit(limit: Document) -> Iterator[str]:
    if not limit["asked"]:
        yield _row("limit", f"{limit['name']}: not asked, {limit['why_not']}", limit["source"])
        return
    who = limit["for"] if limit["key"] else "everybody"
    cost = f", costs {limit['cost']}" if limit["cost"] != 1 or "cost_from" in limit else ""
    cost += f" until {limit['cost_from']} tells more" if "cost_from" in limit else ""
    mode = "" if limit["mode"] == "enforce" else f", {limit['mode']} only"
    text = f"{limit['name']}: {limit['algorithm']} {limit['amount']} for {who}{cost}{mode}{_state(limit)}"
    yield _row("limit", text, limit["source"])
    if "override" in limit:
        yield _row(
            "", f"by its override for {', '.join(f'{name}={value}' for name, value in limit['override'].items())}"
        )
    if "granted" in limit:
        grant = limit["granted"]
        yield _row("", f"granted instead of {grant['instead_of']}, ends in {grant['ends_in_s']} s: {grant['reason']}")
    if "shadow" in limit:
        shadow = limit["shadow"]
        yield _row("", f"in shadow: {shadow['algorithm']} {shadow['amount']}{_state(shadow)}")


def _state(limit: Document) -> str:
    if "remaining" not in limit:
        return ""
    wait = "" if limit["has_room"] else f", room again in {limit['retry_after_s']} s"
    return f"; {limit['remaining']} left{wait}"


def _guard_state(kind: str, guard: Document) -> str:
    wait_s = guard.get("wait_s")
    if kind == "pause":
        return f"; in force, ends in {wait_s} s" if wait_s else "; none now"
    if guard["state"] == "closed":
        return "; closed"
    return f"; {guard['state']}, " + (f"next try in {wait_s} s" if wait_s else "the call is a probe")


def _beyond(document: Document) -> Iterator[str]:
    for kind in ("pause", "breaker"):
        guard = document.get(kind)
        if guard is not None:
            what = guard.get("name") or f"if {guard['upstream']} asks for one, at most {guard['at_most_s']} s,"
            state = _guard_state(kind, guard) if "state" in guard else ""
            yield _row(kind, f"{what} for {whose(guard['for'])}{state}", guard.get("source", ""))
    if "cache" in document:
        yield _row("cache", _kept(document["cache"]))
    if "retry" in document:
        retry = document["retry"]
        what = f"{retry['attempts']} attempts, waits {', '.join(retry['waits'])}, on {_list(retry)}"
        yield _row("retry", f"{retry['name']}: {retry.get('why_not', what)}", retry["source"])
    if "pace" in document:
        pace = document["pace"]
        yield _row("pace", f"{pace['amount']} by {', '.join(pace['key']) or 'everybody together'}")
    if "sandbox" in document:
        yield _row("sandbox", f"answers from {document['sandbox']['fixtures']}, nothing is sent")
        return
    upstream = document["upstream"]
    yield _row("upstream", f"{upstream['name']}: {document['request']['method']} {upstream['url']}", upstream["source"])
    if "request" in upstream:
        yield from _sent(upstream["request"])


def _kept(cache: Document) -> str:
    """What is kept of answers, and for whom."""
    if "why_not" in cache:
        return f"does not act: {cache['why_not']}"
    if cache.get("credentials"):
        return f"answers to calls with {', '.join(cache['credentials'])} are kept only if they say public or s-maxage"
    callers = f"each {' and '.join(cache['vary_by'])}" if cache["vary_by"] else "everybody together"
    return f"answers are kept {cache['ttl']} for {callers}; one that is there asks no limit"


def _sent(request: Document) -> Iterator[str]:
    """What the upstream is sent."""
    yield _row("sent", request["line"])
    yield from (_row("", f"{name}: {value}") for name, value in request["fields"])
    yield _row("", f"and {', '.join(request['of_each_call'])} of the call")


def _list(retry: Document) -> str:
    return ", ".join(map(str, [*retry["on_status"], *retry["on_error"]]))
