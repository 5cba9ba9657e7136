"""How connections are doing: counted attempt by attempt, told to the store, with a log of what failed."""
