"""Counters inside this process."""
