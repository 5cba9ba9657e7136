"""Commands that only tell: whether files are right, and what may stand in them. Nothing is started."""
