"""Settings and policies from files and the environment; what is wrong with them ends the command."""
