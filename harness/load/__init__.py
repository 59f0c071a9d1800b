"""Room: load."""
