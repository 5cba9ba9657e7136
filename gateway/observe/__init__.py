"""What the gateway tells. Takes finished records and events, and decides nothing.

`log/` lines, `metrics/` numbers, `trace/` spans; `reports/` events besides calls, `connections/` how those are doing.
"""
