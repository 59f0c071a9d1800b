"""Room: proxy. Real agent traffic in, a replayable trace out."""
