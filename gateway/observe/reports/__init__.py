"""What happened besides calls, as events and counts: each module tells of one kind of thing."""
