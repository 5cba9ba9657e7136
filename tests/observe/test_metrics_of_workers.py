"""Several workers: their counters add up, also after some have died; a dead worker's gauges do not count."""

import subprocess
import sys
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

PROGRAM = '''
import os, pathlib, signal, sys
import prometheus_client  # looks at the variable now, before it is set
os.environ["PROMETHEUS_MULTIPROC_DIR"] = sys.argv[1]
from gateway.observe.metrics.levels import Levels
from gateway.observe.metrics.sink import Metrics
from gateway.observe.metrics.restarts import count_dropped_message, count_restart
from gateway.observe.metrics.multiprocess import AllWorkers, worker_died
from prometheus_client import generate_latest
from tests.observe.conftest import POLICIES, finished_call

def worker(calls, levels, ending):
    """Fork one that emits so many calls, then ends or stays."""
    ready, done = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        metrics = Metrics(POLICIES)
        metrics.levels = lambda: levels
        for _ in range(calls):
            metrics.emit(finished_call())
        metrics.pour()
        os.write(ready[1], b"x")
        os.close(done[1])
        os.read(done[0], 1)
        os._exit(0)
    os.close(ready[1])
    os.read(ready[0], 1)
    if ending:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        worker_died(pid)
        count_restart()
    return pid, done[1]

count_restart()
count_dropped_message()
killed = worker(5, Levels(in_flight={"erp": 50}, store_up=False), True)
killed = worker(1, Levels(in_flight={"erp": 50}, store_up=False), True)
open(sys.argv[1] + "/counter_99999.db", "wb").close()  # of a worker that begins just now
os.symlink("gone", sys.argv[1] + "/gauge_livesum_99998.db")  # of one that dies just now
first = worker(7, Levels(in_flight={"erp": 2}, open_connections={"calls": 4}), False)
second = worker(11, Levels(in_flight={"erp": 3}, open_connections={"calls": 1}, store_up=False), False)
scraper = Metrics(POLICIES)
scraper.levels = lambda: Levels(in_flight={"erp": 1})
for accept in ("", "application/openmetrics-text"):
    scraper.pour()
    sys.stdout.write(scraper.text(accept)[0].decode())
    sys.stdout.write("---\\n")
for file in pathlib.Path(sys.argv[1]).glob("*_[0-9]?*.db"):
    if file.exists():
        assert file.stat().st_blocks * 512 >= file.stat().st_size, "what a full disk has no room for ends who writes it"
os.close(first[1]); os.close(second[1])
from prometheus_client import CollectorRegistry, multiprocess
os.unlink(sys.argv[1] + "/counter_99999.db")
os.unlink(sys.argv[1] + "/gauge_livesum_99998.db")
theirs, ours = CollectorRegistry(), CollectorRegistry()
multiprocess.MultiProcessCollector(theirs)
ours.register(AllWorkers())
assert sorted(generate_latest(ours).splitlines()) == sorted(generate_latest(theirs).splitlines())
print(os.getpid(), first[0], second[0])  # whose files are left: not those of the dead
'''
CALLS = 'gateway_requests_total{code="200",method="GET",route="erp",source="upstream"}'


def test_workers_add_up(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
        check=False,
    )
    assert done.stderr == ""
    plain, openmetrics, _ = done.stdout.split("---\n")
    assert openmetrics.endswith("# EOF\n")
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(plain):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    assert found[CALLS] == 5 + 1 + 7 + 11
    assert found['gateway_request_duration_seconds_count{code_class="2xx",route="erp"}'] == 24
    assert found['gateway_request_duration_seconds_bucket{code_class="2xx",le="+Inf",route="erp"}'] == 24
    assert found['gateway_requests_in_flight{route="erp"}'] == 1 + 2 + 3
    assert found['gateway_open_connections{listener="calls"}'] == 5
    assert found["gateway_store_up{}"] == 0
    assert found["gateway_worker_restarts_total{}"] == 3
    assert found["gateway_worker_messages_dropped_total{}"] == 1
    assert found['gateway_policy_info{version="0123456789ab"}'] == 1
    assert found['process_resident_memory_bytes{worker="0"}'] > 3 * 1024 * 1024
    assert {path.name for path in tmp_path.glob("counter_*.db")} - {"counter_dead.db"} == {
        f"counter_{pid}.db" for pid in map(int, done.stdout.split("---\n")[2].split())
    }
