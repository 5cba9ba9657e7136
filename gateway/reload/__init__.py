"""Policies and settings replaced while calls are served: on every worker, or on none.

`transaction` watches the files and agrees with the other workers, `edition` is what travels between them, `in_force`
says which parts of a worker depend on it, `swap` replaces them.
"""
