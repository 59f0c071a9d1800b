"""Names -> implementations, by Python entry points, loaded only when asked for.

Built-ins and third parties register in the same way: one line in `pyproject.toml`.
"""

from __future__ import annotations

import difflib
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from harness.errors import MissingExtra, UsageError

_KINDS = {
    "harness.workloads": "workload kind",
    "harness.backends": "backend kind",
    "harness.reports": "report format",
    "harness.telemetry": "telemetry source",
}

# Which extra of ours brings which import: a missing one is answered with the exact install line.
_EXTRAS = {
    "vllm": "vllm",
    "llama_cpp": "llamacpp",
    "pynvml": "gpu",
    "pyarrow": "parquet",
    "duckdb": "parquet",
    "ray": "ray",
    "tokenizers": "tokenizers",
}


@cache
def _table(group: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=group)}


def names(group: str) -> list[str]:
    """All registered names of a group, sorted."""
    return sorted(_table(group))


def load(group: str, name: str) -> Any:
    """The implementation registered as `name` in `group`.

    Raises:
        UsageError: no such name; the message names the nearest one.
        MissingExtra: the implementation needs a package that is not installed.
    """
    point = _table(group).get(name)
    if point is None:
        near = difflib.get_close_matches(name, names(group), n=1)
        hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(names(group))}."
        raise UsageError(f"unknown {_KINDS.get(group, group)} '{name}'. {hint}")
    try:
        return point.load()
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in _EXTRAS:
            raise MissingExtra(f"{_KINDS.get(group, group)} '{name}'", _EXTRAS[missing]) from error
        raise
