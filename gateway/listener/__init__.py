"""The callers' side: listening, one `Connection` a socket, its bounds and deadlines."""
