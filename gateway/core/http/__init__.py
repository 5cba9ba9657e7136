"""HTTP, as far as it can be told from bytes: fields that are read, passed on and written, framing, times, traces."""
