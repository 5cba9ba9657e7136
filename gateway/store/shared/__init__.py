"""What workers of all gateways share beside counters: answers, queues, tokens, and what is known of connections."""
