"""A worker's side of what may hold calls back besides limits: breakers, pauses, pace. `gateway.core` has the rules."""
