"""Replay: recorded calls through a candidate policy. `lines` reads, `row` understands, `play` decides, `tally` counts.

Reading and understanding can be done in other processes than deciding: see `gateway.cli.policies.replay`.
"""
