"""Connection tests: the way to the upstream of one connection, step by step, with its credentials, no limit asked.

One request reaches the upstream; nothing is charged here. What came of it is told to whoever keeps the connection's
state, as the outcome of an attempt is.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from gateway.call import Gateway
from gateway.connection_tests.naming import Naming, naming
from gateway.core.access.credentials import Credential, chosen, with_parameter
from gateway.core.access.tokens import REFUSED, UNAVAILABLE
from gateway.core.classes import Classes
from gateway.core.learning import stands_for
from gateway.core.policy import PolicySet
from gateway.core.upstream import Probe, Upstream
from gateway.modules.credentials.renewal import NoToken
from gateway.record import CallRecord
from gateway.upstream.checkup import Step, Timed, patience_s, reach, request
from gateway.upstream.failure import UpstreamFailed

OPERATION = "connection.test"
"""Under which attempts are counted that tests and probes have made."""
PLAIN = Probe()
ASKS_WHO = (401, 403)
CANNOT_TELL = "cannot tell: the upstream was not told which connection is meant"

Document = dict[str, Any]


class Subject(NamedTuple):
    """What is tested: a connection ("" = none is named) of a tenant ("" = none is known) at one upstream."""

    connection: str
    tenant: str
    upstream: Upstream

    @property
    def values(self) -> dict[str, str]:
        """The values of the key parts that are known."""
        return {name: value for name, value in (("connection", self.connection), ("tenant", self.tenant)) if value}


def upstreams_of(policies: PolicySet, connection: str, tenant: str) -> list[Upstream]:
    """Those that show credentials of this connection; if none does, all whose routes read a connection."""
    values = Subject(connection, tenant, next(iter(policies.upstreams.values()))).values if policies.upstreams else {}
    named = []
    for upstream in policies.upstreams.values():
        credential = chosen(upstream.credentials, values)
        if credential is not None and "connection" in dict(credential.match):
            named.append(upstream)
    if named:
        return named
    reading = (route.upstream for route in policies.routes if any(part.name == "connection" for part in route.keys))
    return list({upstream.name: upstream for upstream in reading}.values())


async def check(gateway: Gateway, subject: Subject) -> Document:
    """Go all steps, up to the first that fails.

    An answer of an upstream that does not know which connection is meant, or that asks for credentials which callers
    bring themselves, says nothing about it, and nobody is told.
    """
    upstream = subject.upstream
    target = gateway.upstreams.pool(upstream).upstream  # of the built-in one the address
    credential, probe = chosen(upstream.credentials, subject.values), upstream.probe or PLAIN
    record = _record(gateway, subject, probe)
    named = naming(gateway.policies, upstream, subject.values, credential)
    steps = await reach(target)
    if steps[-1].ok:
        steps += await _ask(gateway, upstream, target, credential, probe, record, named)
    elif "error" in steps[-1].facts:
        record.error_class = _class_of_error(gateway.policies.classes, steps[-1].facts["error"])
        record.error_detail = f"{steps[-1].step}: {steps[-1].detail}"
    record.ended = gateway.clock()
    unshown = credential is None and record.upstream_status in ASKS_WHO
    silent = any(step.step == "http" for step in steps) and (unshown or not named.told)
    if subject.connection and not silent:
        gateway.on_checked(record)
    return {
        "upstream": upstream.name,
        "ok": False if any(step.ok is False for step in steps) else None if silent else True,
        "took_ms": round((record.ended - record.started) * 1e3, 3),
        "request": f"{probe.method} {named.target(f'{upstream.base_path}{probe.path}')}",
        "credentials": credential.name if credential is not None else None,
        "request_id": record.request_id,
        "steps": [step.as_dict() for step in steps],
    }


async def _ask(
    gateway: Gateway,
    upstream: Upstream,
    target: Upstream,
    credential: Credential | None,
    probe: Probe,
    record: CallRecord,
    named: Naming,
) -> list[Step]:
    """Credentials and HTTP."""
    timed, steps = Timed(), []
    if credential is None and upstream.credentials and not upstream.credentials_optional:
        return [timed.step("credentials", False, "no entry of `credentials` is for this caller: calls get 403")]
    if credential is not None and credential.oauth is not None:
        step = await _token(timed, gateway, credential, record)
        steps.append(step)
        if not step.ok:
            return steps
    head = _head(gateway, target, credential, probe, record, named)
    try:
        answer, took_s = await request(target, head, probe.method, gateway.settings.bounds.response_header_bytes)
    except UpstreamFailed as failure:
        record.error_class = _class_of_error(gateway.policies.classes, failure.error)
        record.error_detail = str(failure)
        return [*steps, timed.step("http", False, _no_answer(failure, target), error=failure.error)]
    status = stands_for(upstream.learning, answer.means, answer.fields, gateway.now_us())
    _answered(gateway, record, answer.status, status)
    record.upstream_s = took_s
    return [*steps, _http(timed, probe, answer.status, named.told), *_verdict(timed, credential, probe, status)]


def _no_answer(failure: UpstreamFailed, upstream: Upstream) -> str:
    late = failure.error in ("first_byte_timeout", "total_timeout")
    return f"no answer within {patience_s(upstream):g} s" if late else f"no answer: {failure}"


async def _token(timed: Timed, gateway: Gateway, credential: Credential, record: CallRecord) -> Step:
    renewal = gateway.supply.of(credential)
    try:
        if renewal is not None:
            await renewal.ready()
    except NoToken as none:
        record.error_class = REFUSED if none.failure.refused else UNAVAILABLE
        record.error_detail = f"credentials {credential.name}: {none.failure.reason}"
        return timed.step("token", False, none.failure.reason, again_s=round(none.wait_s))
    return timed.step("token", True, "there is a token")


def _head(
    gateway: Gateway,
    upstream: Upstream,
    credential: Credential | None,
    probe: Probe,
    record: CallRecord,
    named: Naming,
) -> bytes:
    path = named.target(f"{upstream.base_path}{probe.path}")
    shown = b""
    if credential is not None:
        shown = gateway.supply.line(credential) if credential.oauth is not None else credential.line()
        path = with_parameter(path, credential) if credential.parameter else path
    lines = f"{probe.method} {path} HTTP/1.1\r\nHost: {upstream.authority}\r\nUser-Agent: {gateway.settings.name}\r\n"
    more = f"Accept: */*\r\nX-Request-Id: {record.request_id}\r\nConnection: close\r\n\r\n"
    return lines.encode() + named.fields + shown + more.encode()


def _http(timed: Timed, probe: Probe, status: int, told: bool) -> Step:
    if not told:
        return timed.step("http", None, f"answered {status}; {CANNOT_TELL}", status=status)
    if probe.expect:
        wanted = status in probe.expect
        return timed.step(
            "http", wanted, f"answered {status}{'' if wanted else ', which is not expected'}", status=status
        )
    return timed.step("http", status < 500, f"answered {status}", status=status)


def _verdict(timed: Timed, credential: Credential | None, probe: Probe, status: int) -> Sequence[Step]:
    """What the answer says about the credentials; little when none were shown."""
    if credential is None:
        detail = f"cannot tell: none are the gateway's to show, and the upstream wants some ({status})"
        return (timed.step("credentials", None, detail),) if status in ASKS_WHO else ()
    if status == 401:
        return (timed.step("credentials", False, f"{credential.name} were refused (401)"),)
    if status == 403:
        detail = f"{credential.name} lack a permission for {probe.method} {probe.path} (403)"
        return (timed.step("credentials", False, detail),)
    if status < 400:
        return (timed.step("credentials", True, f"{credential.name} were accepted"),)
    return (timed.step("credentials", None, f"the answer does not say whether {credential.name} were accepted"),)


def _record(gateway: Gateway, subject: Subject, probe: Probe) -> CallRecord:
    record = CallRecord()
    record.request_id = gateway.new_id()
    record.started = gateway.clock()
    record.method, record.target = probe.method, probe.path
    record.tenant, record.connection = subject.tenant, subject.connection
    record.upstream, record.operation = subject.upstream.name, OPERATION
    record.policy_version = gateway.policies.version
    return record


def _answered(gateway: Gateway, record: CallRecord, status: int, judged_by: int) -> None:
    record.status = record.upstream_status = status
    record.judged_status = judged_by
    record.response_source = "upstream"
    error_class = gateway.policies.classes.statuses.get(judged_by)
    if error_class is not None:
        record.error_class = error_class.name


def _class_of_error(classes: Classes, error: str) -> str:
    return classes.errors[error].name
