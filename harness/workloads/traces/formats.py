"""The trace formats by name, and which one a file is of."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from harness.errors import ConfigError
from harness.workloads.traces.file import TraceFile
from harness.workloads.traces.trace import Reader

NAMES = ("harness", "mooncake", "azure", "burstgpt", "weka", "aiperf", "trie", "otel", "sharegpt")


def reader(name: str) -> Reader:
    """The reader of a format."""
    return cast(Reader, import_module(f"harness.workloads.traces.{name}"))


def recognised(file: TraceFile) -> str:
    """The name of the format that the file is of.

    Raises:
        ConfigError: of none that we know.
    """
    head = file.head()
    for name in NAMES:
        if reader(name).recognises(head):
            return name
    known = ", ".join(NAMES)
    raise ConfigError(
        "workload.format",
        f"{file.path} is of no format that is recognised",
        remedy=f"name it: workload.format: {known}",
    )
