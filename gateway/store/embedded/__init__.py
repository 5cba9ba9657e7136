"""The server that comes with the gateway: started, watched and ended with it."""
