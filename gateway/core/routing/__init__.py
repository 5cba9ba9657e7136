"""Where a request leads: which route and operation, and what the upstream is asked for; or that nobody can tell."""
