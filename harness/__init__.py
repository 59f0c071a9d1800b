"""harness: a benchmark harness for LLM inference serving.

One way through the house: config -> plan -> load -> records -> metrics -> judge -> report.
"""

__version__ = "0.1.0"
