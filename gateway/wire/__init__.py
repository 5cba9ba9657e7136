"""HTTP/1.1 on the wire, shared by both sides: message heads (aiohttp's C parser) and bodies (`core.http.framing`)."""
