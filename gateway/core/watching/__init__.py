"""What stands out among many calls, in bounded memory."""
