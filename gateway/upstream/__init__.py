"""The upstream side: a pool of sockets per upstream, one exchange at a time on each, tunnels after an upgrade.

`Pool` and `Exchange` are the whole interface the stages use.
"""
