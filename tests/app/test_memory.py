"""What bodies leave behind is used for the next ones, and the collector looks seldom, but not never."""

import os
import subprocess
import sys

import pytest

BODIES = """
import resource
from gateway.memory import keep_pages

kept = keep_pages()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(200):
    pieces = [bytearray(200_000) for _ in range(3)]
    del pieces
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
PAGES_OF_ONE = 3 * 200_000 // 4096


def _run(**environment: str) -> tuple[str, int]:
    done = subprocess.run(
        [sys.executable, "-c", BODIES],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        env={**os.environ, **environment},
    )
    kept, faults = done.stdout.split()
    return kept, int(faults)


def test_pages_of_bodies_are_used_again() -> None:
    kept, faults = _run()
    assert kept == "True"
    assert faults < 10 * PAGES_OF_ONE


@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"])
def test_what_the_environment_says_stays(name: str) -> None:
    assert _run(**{name: "65536"})[0] == "False"


COLLECTOR = """
import gc
from gateway.memory import calm_collector, loading

told = []
with loading():
    told.append(gc.isenabled())
    calm_collector()
    told += [gc.isenabled(), gc.get_threshold()[0] > 10_000, gc.get_freeze_count() > 1_000]
with loading():
    pass
print([*told, gc.isenabled()])
"""


def test_the_collector_is_off_while_things_are_loaded() -> None:
    done = subprocess.run([sys.executable, "-c", COLLECTOR], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == "[False, True, True, True, True]\n"
