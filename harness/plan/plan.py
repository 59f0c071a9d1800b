"""The plan: every arrival, session shape and size, fixed before the first byte is sent.

A plan is an immutable value made from the experiment alone. It is divisible: shard i of n takes every session whose
index is i modulo n, needs no coordinator, and sees the same sessions as the whole.
"""
