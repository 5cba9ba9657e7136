"""Delivers letters of durable queues to receivers over HTTP: webhooks of our own, and those taken in for services."""
