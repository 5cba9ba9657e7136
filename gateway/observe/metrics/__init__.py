"""What a worker counts and reads off, for scrapes and for whoever looks now."""
