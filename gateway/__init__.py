"""A rate-limit gateway: a reverse proxy that keeps calls inside the limits of the APIs they go to.

Reading order: `handle.py` (the life of one call, top to bottom, through a module for each stage), `core/decision.py`
(what is decided and how), `store/__init__.py` (where counters live), `app.py` (how one worker is put together),
`view.py` (what operators see of it). `CONTRIBUTING.md` says what is in which room.
"""

__version__ = "0.1.0"
