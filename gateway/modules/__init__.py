"""Off until a policy or a setting asks for it. What calls do with it is above: `caching`, `supplied`, `intake`."""
