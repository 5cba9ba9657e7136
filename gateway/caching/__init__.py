"""What takes the place of admit and forward for calls of routes that keep answers: see `through.py`.

A call that is answered from what is kept asks no limit, no breaker and no upstream. Of calls that want the same one
asks and the others wait, for a bounded time. What may be kept, and used, is decided in `gateway.core.caching`; where it
is kept is the matter of `gateway.modules.cache`.
"""
