"""The rules of a shared cache (RFC 9111): what is kept, under which key, how long it is fresh, what it answers."""
