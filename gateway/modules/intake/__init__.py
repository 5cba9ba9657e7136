"""Webhooks in: taken from others, kept in the store, and delivered to services of ours."""
