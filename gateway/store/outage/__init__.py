"""What a worker decides by while the store is away, and how it gives back what was spent when it returns."""
