"""What would be decided: about a call that nobody makes, about recorded ones, and by another policy set."""
