"""Recorded traffic: one file a format. Each reads a file into sessions; `formats.py` knows them by name."""
