"""One file a client. Each makes the load of a scenario as its users would, and tells what it measured in our words."""
