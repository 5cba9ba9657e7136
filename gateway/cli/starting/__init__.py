"""What comes before there is a running gateway: files to begin with, what stands in them, and `gateway run`."""
