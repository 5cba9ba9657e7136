"""Limits that outages of the store are tried with."""

from dataclasses import replace

from gateway.core.limits import Algorithm, Limit

WINDOW = Limit("w", Algorithm.ROLLING_WINDOW, 100, 600_000_000, ("tenant",))
BUCKET = Limit("b", Algorithm.TOKEN_BUCKET, 100, 100_000_000_000, ("tenant",), rate=1, per_us=1_000_000_000)
FIXED = replace(WINDOW, name="f", algorithm=Algorithm.FIXED_WINDOW, window_us=86_400_000_000)
