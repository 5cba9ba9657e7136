"""Finished calls as spans, and their way to a collector."""
