"""The way to a running gateway's admin listener: which one, whom to believe, and how no answer is told."""
