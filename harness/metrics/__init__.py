"""Room: what the records mean. One small file per family, and the statistics under them."""
