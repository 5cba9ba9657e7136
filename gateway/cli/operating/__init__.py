"""What operators change in a running gateway, and look at before: limits, breakers, connections, cache, webhooks."""
