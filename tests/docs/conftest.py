"""Fixtures of the command line's tests: real processes."""

from tests.cli.conftest import runtime, start, start_gateway

__all__ = ["runtime", "start", "start_gateway"]
