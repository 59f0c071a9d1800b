"""Names -> implementations, by Python entry points, loaded only when asked for.

Built-ins and third parties register in the same way: one line in `pyproject.toml`. What is not registered is named by
its file: `my_agent.py:research`.
"""

from __future__ import annotations

import difflib
import importlib.util
import sys
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
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
    "resvg_py": "png",
    "tokenizers": "tokenizers",
}


@cache
def _table(group: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=group)}


def names(group: str) -> list[str]:
    """All registered names of a group, sorted."""
    return sorted(_table(group))


def load(group: str, name: str) -> Any:
    """The implementation registered as `name` in `group`, or the one that `file.py:name` names.

    Raises:
        UsageError: no such name; the message names the nearest one. The file cannot be used.
        MissingExtra: the implementation needs a package that is not installed.
    """
    if is_file(name):
        return _from_file(*name.rsplit(":", 1))
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


def is_file(name: str) -> bool:
    """Whether a name is that of something in a file: `path/to/file.py:name`."""
    return ".py:" in name


def _from_file(path: str, name: str) -> Any:
    found = getattr(_module(path), name, None)
    if found is None:
        raise UsageError(f"there is no {name} in {path}")
    if not hasattr(found, "Params"):
        raise UsageError(f"{path}:{name} has no Params: decorate the function with @pattern, or add the class")
    return found


@cache
def _module(path: str) -> ModuleType:
    """The module in a file, run once."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise UsageError(f"there is no file {path}")
    title = f"harness_file_{file.stem}"
    spec = importlib.util.spec_from_file_location(title, file)
    assert spec is not None and spec.loader is not None
    module = sys.modules[title] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(f"{path} cannot be loaded: {type(error).__name__}: {error}") from error
    return module
