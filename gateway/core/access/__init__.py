"""Proofs in both directions: what callers show the gateway, and what the gateway shows upstreams."""
