"""Dated price tables: what hosted models cost per 1M tokens, what an hour of an accelerator costs.

Ours lie in `configs/prices/`. A table of the user's own is either of the same form, or LiteLLM's price JSON
(model -> `input_cost_per_token`, ...), which is per token and has no date. Nothing is read before a name is looked up.
"""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeGuard

from harness import assets
from harness.config import source
from harness.errors import ConfigError

FIGURES = ("input", "cached_input", "cache_write", "output", "reasoning", "per_request")

_LITELLM = {
    "input": "input_cost_per_token",
    "cached_input": "cache_read_input_token_cost",
    "cache_write": "cache_creation_input_token_cost",
    "output": "output_cost_per_token",
    "reasoning": "output_cost_per_reasoning_token",
}


@dataclass(frozen=True)
class ModelPrice:
    """A hosted model: money per 1M tokens by the names in `FIGURES` (`per_request`: for each call)."""

    name: str
    figures: dict[str, float]
    currency: str
    as_of: str | None
    source: str


@dataclass(frozen=True)
class Accelerator:
    """One accelerator: money an hour at retail (`rent`) and for a hyperscaler that owns it (`own`), and its power
    with all that belongs to it in kW."""

    name: str
    rent: float
    own: float
    kw: float
    currency: str
    as_of: str | None
    source: str


def models(file: str | None = None) -> dict[str, ModelPrice]:
    """All hosted models of our table, or of `file`.

    Raises:
        ValueError: the file is no price table.
    """
    path = Path(file).expanduser() if file else assets.root() / "prices" / "hosted.yaml"
    table = _read(path)
    if "models" not in table:
        return _litellm(table, path)
    return {
        name: ModelPrice(name, _figures(told, path, name), *_dated(table, path))
        for name, told in table["models"].items()
    }


def accelerators() -> dict[str, Accelerator]:
    """All accelerators of our table."""
    path = assets.root() / "prices" / "accelerators.yaml"
    table = _read(path)
    return {
        name: Accelerator(name, told["rent"], told["own"], told["kw"], *_dated(table, path))
        for name, told in table["accelerators"].items()
    }


def find_model(name: str, file: str | None = None) -> ModelPrice:
    """The model of that name, or the only one whose name ends in `/name`, in `file` if given, else in our table.

    Raises:
        ValueError: there is none, or several; names the nearest.
    """
    table = models(file)
    place = file or "configs/prices/hosted.yaml"
    remedy = "" if file else "; give input and output yourself, or price_file"
    return table[_find(name, list(table), "model", place, remedy)]


def find_accelerator(name: str) -> Accelerator:
    """The accelerator of that name.

    Raises:
        ValueError: there is none; names the nearest.
    """
    table = accelerators()
    place = "configs/prices/accelerators.yaml"
    return table[_find(name, list(table), "accelerator", place, "; give gpu_hour yourself")]


def _find(name: str, known: list[str], noun: str, place: str, remedy: str) -> str:
    folded = {each.casefold(): each for each in known}
    wanted = name.casefold()
    if wanted in folded:
        return folded[wanted]
    ends = [each for each in folded if each.endswith(f"/{wanted}")]
    if len(ends) == 1:
        return folded[ends[0]]
    if ends:
        raise ValueError(f"{name!r} is in {place} more than once: {', '.join(folded[each] for each in sorted(ends))}")
    close = difflib.get_close_matches(wanted, folded, n=1, cutoff=0.5)
    hint = f" Did you mean {folded[close[0]]}?" if close else ""
    raise ValueError(f"no {noun} {name!r} in {place}{remedy}.{hint}")


def _read(path: Path) -> dict[str, Any]:
    try:
        changed = path.stat().st_mtime_ns
        return _parsed(path, changed)
    except OSError as error:
        raise ValueError(f"cannot read the price table {path}: {error.strerror}") from error


@cache
def _parsed(path: Path, _changed: int) -> dict[str, Any]:
    """The table, read once as long as the file stays as it is."""
    text = path.read_bytes()
    try:
        if path.suffix.lower() == ".json":
            table = json.loads(text)
        else:
            table = source.read(text.decode(), source=str(path))
    except (ValueError, ConfigError) as error:
        raise ValueError(f"{path} is no price table: {error}") from error
    if not isinstance(table, dict) or not isinstance(table.get("models", {}), dict):
        raise ValueError(f"{path} is no price table: it needs `models:`, or to be LiteLLM's price JSON")
    return table


def _dated(table: dict[str, Any], path: Path) -> tuple[str, str | None, str]:
    as_of = table.get("as_of")
    return str(table.get("currency", "USD")), None if as_of is None else str(as_of), str(table.get("source", path.name))


def _figures(told: Any, path: Path, name: str) -> dict[str, float]:
    known = {key: told.get(key) for key in FIGURES} if isinstance(told, dict) else {}
    figures = {key: float(value) for key, value in known.items() if _is_price(value)}
    if not {"input", "output"} <= set(figures):
        raise ValueError(f"{path}: {name} has no input and output price")
    return figures


def _is_price(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _litellm(table: dict[str, Any], path: Path) -> dict[str, ModelPrice]:
    """Prices per token -> per 1M tokens. Models without both prices (images, audio) are left out."""
    found = {}
    for name, told in table.items():
        known = {ours: told.get(theirs) for ours, theirs in _LITELLM.items()} if isinstance(told, dict) else {}
        figures = {key: round(float(value) * 1e6, 9) for key, value in known.items() if _is_price(value)}
        if {"input", "output"} <= set(figures):
            if _is_price(told.get("input_cost_per_request")):
                figures["per_request"] = float(told["input_cost_per_request"])
            found[str(name)] = ModelPrice(str(name), figures, "USD", None, f"{path.name} (LiteLLM's price table)")
    if not found:
        raise ValueError(f"{path} is no price table: it needs `models:`, or to be LiteLLM's price JSON")
    return found
