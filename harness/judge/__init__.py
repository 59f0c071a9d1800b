"""Room: judge."""
