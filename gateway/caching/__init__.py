"""What takes the place of admit and forward for calls of routes that keep answers: see `through.py`.

A call that is answered from what is kept asks no limit, no breaker and no upstream. Of several calls that want the same
answer, one asks and the others wait, for a bounded time. `gateway.core.cache` decides what may be kept and used;
`gateway.modules.cache` keeps it.
"""
