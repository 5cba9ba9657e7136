"""What bodies leave behind is used for the next ones: the system is not asked for new pages each time."""

import subprocess
import sys

import pytest

BODIES = """
import resource, sys
from gateway.memory import keep_pages

def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

kept = keep_pages() if sys.argv[1] == "kept" else None
held = [bytearray(300_000) for _ in range(4)]
del held
before = faults()
for _ in range(200):
    pieces = [bytes(bytearray(200_000)), bytes(bytearray(64_000))]
    del pieces
print(kept, faults() - before)
"""


def _run(how: str, **environment: str) -> tuple[str, int]:
    done = subprocess.run(
        [sys.executable, "-c", BODIES, how], capture_output=True, text=True, check=True, timeout=30, env=environment
    )
    kept, faults = done.stdout.split()
    return kept, int(faults)
