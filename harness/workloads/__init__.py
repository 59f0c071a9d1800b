"""Room: the patterns of requests people send. One file a pattern; each yields sessions as DAGs."""

from harness.workloads.session import Node, Session, Text, Workload

__all__ = ["Node", "Session", "Text", "Workload"]
