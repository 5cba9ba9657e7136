"""Real servers that tests command: they listen on real sockets and do exactly what they are told."""
