"""Connection tests: whether one connection works, step by step, when somebody asks and by the clock."""
