"""The way to one server: who the primary is, one connection for all commands, and what its troubles mean."""
