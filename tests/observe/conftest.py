"""Calls as the stages leave them behind, and logs that end in a file of the test's own."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.core.ask import Ask
from gateway.core.limits import Algorithm, Charge, Decision, Limit, Mode, Verdict
from gateway.core.policy import Match, PolicySet, Route
from gateway.core.upstream import Upstream
from gateway.observe.log.access import AccessLog
from gateway.observe.log.logger import close_logging, envelope
from gateway.observe.log.writer import writer_for
from gateway.record import CallRecord
from gateway.settings import Logging, Settings

WINDOW = Limit("tenant-10m", Algorithm.ROLLING_WINDOW, 500, 600_000_000, ("tenant",))
BUCKET = Limit("connection-1m", Algorithm.TOKEN_BUCKET, 20, 60_000_000, ("connection",), 20, 60_000_000)
SHADOW = Limit("tenant-shadow", Algorithm.FIXED_WINDOW, 100, 60_000_000, ("tenant",), mode=Mode.SHADOW)
UPSTREAM = Upstream("erp-api", "https", "192.0.2.10", 443, "erp.example")
POLICIES = PolicySet(
    "0123456789ab",
    (Route("erp", Match(), UPSTREAM, (WINDOW, BUCKET, SHADOW)),),
    {limit.name: limit for limit in (WINDOW, BUCKET, SHADOW)},
    {},
    {"erp-api": UPSTREAM},
)

Emit = Callable[..., list[dict[str, Any]]]


def finished_call() -> CallRecord:
    """An admitted call: forwarded, three limits asked, one of them only watching."""
    record = CallRecord()
    record.request_id = "5f1e3d2c1b0a00000001"
    record.trace_id, record.span_id = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    record.method, record.target, record.http_host = "GET", "/erp/items/4711?page=2&token=s3cret", "gateway:8080"
    record.peer_ip, record.client_ip = "10.0.0.1", "192.0.2.7"
    record.user_agent, record.referer = "service/1.4", "https://u:pw@shop.example/cart?sid=s3cret#x"
    record.started, record.ended = 1000.0, 1000.0125
    record.store_s, record.upstream_s = 0.0005, 0.01
    record.route, record.upstream, record.upstream_addr = "erp", "erp-api", "192.0.2.10:443"
    record.tenant, record.connection, record.operation, record.entity = "acme", "conn_42", "items.read", "item"
    record.policy_version = POLICIES.version
    record.ask = Ask(tuple(Charge(limit, f"{limit.name}:{{=acme}}", 1) for limit in (WINDOW, BUCKET, SHADOW)))
    record.decision = Decision(
        True,
        (
            Verdict(True, 7, 599_000_123, 1_200_000, 0),
            Verdict(True, 7, 39_000_000, 3_000_000, 0),
            Verdict(False, 0, 5_000_000, 5_000_000, 5_000_000),
        ),
        1_700_000_000_000_000,
    )
    record.verdict, record.limit_fired, record.store = "shadow_limited", "tenant-shadow", "redis"
    record.status = record.upstream_status = 200
    record.response_source = "upstream"
    record.bytes_in, record.bytes_out = 3, 1024
    return record


@pytest.fixture
def call() -> CallRecord:
    return finished_call()


@pytest.fixture(autouse=True)
def _logging_ends_with_the_test() -> Iterator[None]:
    yield
    close_logging()


@pytest.fixture
def emit(tmp_path: Path) -> Emit:
    """Write records with an access log of these settings; the lines that come out, read back."""
    path = tmp_path / "access.log"

    def lines(*records: CallRecord, **settings: Any) -> list[dict[str, Any]]:
        access = str(settings.pop("access", path))
        logging = Logging(access=access, **{"connection_errors": access, "pretty": False, **settings})
        log = AccessLog(logging, envelope(Settings(), worker=0))
        for record in records:
            log.emit(record)
        writer_for(access).flush()
        return [orjson.loads(line) for line in path.read_bytes().split(b"\n")[:-1]] if path.exists() else []

    return lines
