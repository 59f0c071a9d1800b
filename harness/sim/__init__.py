"""Room: the simulated engine. A real HTTP server with a model of continuous batching behind it.

`options.SimOptions` says what to simulate, `server.serve` serves it until it is told to stop.
"""
