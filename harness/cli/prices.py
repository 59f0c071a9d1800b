"""`harness prices`: what the price tables know."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from harness.config.prices import Accelerator, ModelPrice


def prices(
    term: Annotated[str, typer.Argument(help="Only names that contain this, e.g. llama or H100.")] = "",
    file: Annotated[
        str | None, typer.Option("--file", help="Models of this table instead of ours: YAML, or LiteLLM's JSON.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """List what hosted models cost per 1M tokens and what an hour of an accelerator costs, each with date and source.

    Example: harness prices llama

    In a config: cost: {price: groq/llama-3-70b}, cost: {accelerator: H100, against: [openai/gpt-4o]}.
    """
    from harness.cli.told import as_json
    from harness.config.prices import accelerators, models
    from harness.errors import UsageError

    try:
        found = [price for name, price in models(file).items() if term.casefold() in name.casefold()]
    except ValueError as error:
        raise UsageError(str(error)) from error
    cards = [] if file else [card for name, card in accelerators().items() if term.casefold() in name.casefold()]
    if not found and not cards:
        raise UsageError(f"no model and no accelerator has {term!r} in its name", remedy="harness prices")
    if json:
        sys.stdout.write(as_json({"models": found, "accelerators": cards}))
        return
    _show(found, cards)


def _show(found: Sequence[ModelPrice], cards: Sequence[Accelerator]) -> None:
    """A table a kind; under each its dates and sources."""
    from harness.cli.told import console

    screen = console()
    if found:
        keys = [key for key in _COLUMNS if any(key in price.figures for price in found)]
        rows = [[price.name, *(_figure(price.figures.get(key)) for key in keys)] for price in found]
        heads = [f"per 1M tokens, {found[0].currency}", *(_COLUMNS[key] for key in keys)]
        _table(screen, heads, rows, {(price.as_of, price.source) for price in found})
    if cards:
        rows = [[card.name, _figure(card.rent), _figure(card.own), _figure(card.kw)] for card in cards]
        heads = [f"an hour of one, {cards[0].currency}", "rented", "owned", "kW"]
        _table(screen, heads, rows, {(card.as_of, card.source) for card in cards})


_COLUMNS = {
    "input": "input",
    "cached_input": "cached",
    "cache_write": "cache write",
    "output": "output",
    "reasoning": "reasoning",
    "per_request": "a request",
}


def _figure(value: float | None) -> str:
    """As a price is written: two decimals, more where it has more."""
    if value is None:
        return "–"
    return max(f"{value:.2f}", f"{value:.10f}".rstrip("0"), key=len)


def _table(screen: Console, heads: list[str], rows: list[list[str]], origins: set[tuple[str | None, str]]) -> None:
    widths = [max(len(row[place]) for row in [heads, *rows]) for place in range(len(heads))]
    screen.print()
    for row in [heads, *rows]:
        name, *figures = row
        cells = "".join(f"  {cell:>{width}}" for cell, width in zip(figures, widths[1:], strict=True))
        screen.print(f" {name:<{widths[0]}}{cells}", markup=False, style="bold" if row is heads else None)
    for as_of, source in sorted(origins, key=str):
        screen.print(f" as of {as_of or 'an unknown date'}: {source}", markup=False, style="dim")
