"""Room: whom we ask. One file per dialect or engine."""
