"""What the gateway tells: log lines, events, metrics. Takes finished records and events, and decides nothing."""
