"""Webhooks in both directions: whom to tell and to believe, and when to try again."""
