"""What every command has: options with one spelling, one way to fail, exit codes, standard streams that are open."""
