"""How connections are doing: what an attempt says about its connection, the state that follows, and the counts."""
