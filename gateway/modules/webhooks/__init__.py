"""Webhooks out: what happens here is told to whoever subscribed to it."""
