"""What the server's scripts are told and what they answer: the wire formats that `store/lua/` describes."""
