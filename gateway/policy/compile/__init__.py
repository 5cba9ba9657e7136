"""From what was written to the frozen values of `gateway.core` that calls are served with; all of it: `policies`."""
