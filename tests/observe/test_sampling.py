"""Fewer lines: which may be left out, how many, and that the others say so."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.observe.log.access import AccessLog
from gateway.observe.log.logger import envelope
from gateway.observe.log.sampling import SampledLog, access_log, kind_of
from gateway.observe.log.writer import writer_for
from gateway.observe.metrics.sink import Metrics
from gateway.record import CallRecord
from gateway.settings import Logging, Sample, Settings
from tests.observe.conftest import POLICIES, finished_call
from tests.observe.test_metrics import samples


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


def well() -> CallRecord:
    record = finished_call()
    record.verdict = "allowed"
    return record


def refused(at: float) -> CallRecord:
    record = finished_call()
    record.status, record.response_source, record.upstream_status, record.ended = 429, "limit", 0, at
    record.code = "RATE_LIMIT_EXCEEDED"
    return record


def log_of(path: Path, **settings: Any) -> AccessLog:
    return access_log(Logging(access=str(path), pretty=False, **settings), envelope(Settings(), worker=0))


def lines(path: Path) -> list[dict[str, Any]]:
    writer_for(str(path)).flush()
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def test_nothing_is_sampled_unless_asked(path: Path) -> None:
    assert type(log_of(path)) is AccessLog


@pytest.mark.parametrize(("share", "written"), [(0.1, 101), (0.25, 251), (0.0, 1), (0.999, 999)])
def test_of_what_went_well_a_share_is_written_and_all_is_counted(path: Path, share: float, written: int) -> None:
    log = log_of(path, sample=Sample(success=share))
    assert isinstance(log, SampledLog)
    for _ in range(1000):
        log.emit(well())
    found = lines(path)
    assert abs(len(found) - written) <= 1
    told = sum(1 + line.get("sampled_out", 0) for line in found)
    assert log.left_out["success"] == 1000 - len(found)
    assert 1000 - told == log._untold["success"]
    assert share == 0 or 1000 - told <= 1 / share


def test_of_refusals_so_many_a_second_are_written(path: Path) -> None:
    log = log_of(path, sample=Sample(limited_per_s=3))
    for number in range(50):
        log.emit(refused(1000.0 + number / 20))
    found = lines(path)
    assert [line.get("sampled_out") for line in found] == [None, None, None, 17, None, None, 17, None, None]
    log.emit(well())
    assert len(lines(path)) == 10


@pytest.mark.parametrize(
    "other",
    [
        {"status": 500}, {"status": 404}, {"error_class": "server_error"}, {"aborted_by": "client"},
        {"attempts": [{"n": 1}, {"n": 2}]}, {"verdict": "shadow_limited"}, {"response_source": "gateway"},
        {"response_source": "breaker", "status": 503}, {"response_source": "pause", "status": 429},
        {"status": 429, "error_class": "rate_limited"}, {"response_source": "limit", "status": 503},
    ],
)  # fmt: skip
def test_what_is_not_ordinary_is_always_written(path: Path, other: dict[str, Any]) -> None:
    log = log_of(path, sample=Sample(success=0.0, limited_per_s=1))
    for _ in range(5):
        record = well()
        for name, value in other.items():
            setattr(record, name, value)
        assert not kind_of(record)
        log.emit(record)
    assert len(lines(path)) == 5


def test_a_level_that_is_not_written_is_not_written_for_the_count_either(path: Path) -> None:
    log = log_of(path, sample=Sample(success=0.5), level="warning")
    for _ in range(10):
        log.emit(well())
    assert not path.exists()


def test_what_is_left_out_is_counted(path: Path) -> None:
    log, metrics = log_of(path, sample=Sample(success=0.0)), Metrics(POLICIES)
    assert isinstance(log, SampledLog)
    metrics.follow("gateway_log_lines_sampled_out_total", log.left_out)
    for count in (4, 9):
        for _ in range(5):
            log.emit(well())
        assert samples(metrics)['gateway_log_lines_sampled_out_total{kind="success"}'] == count
