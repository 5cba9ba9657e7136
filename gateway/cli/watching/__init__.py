"""How a running gateway is doing: status, top, tail, healthcheck. Nothing is changed."""
