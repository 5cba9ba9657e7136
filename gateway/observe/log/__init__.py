"""The log: one line per call, events, libraries' messages; three formats, one writer a stream."""
