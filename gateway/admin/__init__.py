"""The second listener: health, metrics, and what operators ask a running gateway. Never on the callers' port."""
