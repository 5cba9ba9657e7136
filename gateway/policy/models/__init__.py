"""What may be written in policies, settings and fixtures: pydantic models, with every default."""
