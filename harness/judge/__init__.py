"""Room: is it good enough? Expressions, SLO verdicts, gates."""
