"""Room: what the machines did meanwhile. Sampled beside the run, in threads of the parent process."""
