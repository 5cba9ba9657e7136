"""Answers that are kept for a while. The rules are in `gateway.core.cache.rules`; what a call does with them is in
`gateway.caching`.
"""
