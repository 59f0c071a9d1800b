"""`harness plan`: what a config would do, before anything is sent."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import Config

if TYPE_CHECKING:
    from harness.plan.explain import Explanation


def plan(
    config: Config,
    override: Annotated[
        list[str] | None, typer.Option("-o", "--override", help="path=value, e.g. load.rate=5/s.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the plan; default from the config.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Say what a config would do: sessions, requests, tokens, duration, cost ceiling, first arrivals, plan hash.

    Example: harness plan quickstart -o load.rate=20/s

    Nothing is sent, and secrets are not looked up. The same plan hash means the same load.
    """
    from harness.cli.told import as_json, console
    from harness.config.load import load
    from harness.plan import make_plan
    from harness.plan.explain import explain
    from harness.run import check

    experiment = load(config, override or (), seed=seed, resolve_secrets=False).experiment
    check(experiment)
    told = explain(make_plan(experiment))
    if json:
        sys.stdout.write(as_json(told))
        return
    screen = console()
    screen.print(f"\n [bold]{told.name}[/] · {told.workload} · {told.backend} · seed {told.seed}\n")
    for label, text in _lines(told):
        screen.print(f" {label:<15}{text}", markup=False)
    if told.first:
        screen.print(f"\n first {'arrivals' if told.open_loop else 'sessions'}")
        for row in _starts(told):
            screen.print(f" {row}", markup=False, style="dim")
    screen.print(f"\n → harness run {config}\n", markup=False)


def _lines(told: Explanation) -> Iterator[tuple[str, str]]:
    from harness.units import format_duration, format_number

    def each(value: float | None) -> str:
        return f"{format_number(value)} a session"

    def tokens(whole: int | None, mean: float | None) -> str:
        return each(mean) if whole is None else f"{format_number(whole, 4)} planned · {each(mean)}"

    for place, note in enumerate(told.notes):
        yield "" if place else "workload", note
    if len(told.kinds) > 1:
        for place, kind in enumerate(told.kinds):
            parts = f"{kind.sessions:.0%} of sessions, {kind.requests:.0%} of requests, {kind.tokens:.0%} of tokens"
            yield "" if place else "kinds", f"{kind.kind}: {parts}"
    yield "load", told.load
    yield "stops after", told.stop
    yield "sessions", _sessions(told)
    requests = each(told.requests_per_session)
    yield "requests", requests if told.requests is None else f"{format_number(told.requests, 9)} · {requests}"
    yield "input tokens", tokens(told.input_tokens, told.input_tokens_per_session)
    yield "output tokens", tokens(told.output_tokens, told.output_tokens_per_session)
    yield "longest prompt", f"{format_number(told.longest_prompt, 9)} tokens"
    if told.sessions is not None and told.looked_at < told.sessions:
        yield "", f"(from {format_number(told.looked_at, 9)} sessions spread evenly)"
    if told.duration_s is None:
        yield "duration", "– (ends with the sessions)"
    else:
        yield (
            "duration",
            f"{'' if told.open_loop else 'at most '}{format_duration(told.duration_s)}, then the last answers",
        )
    if cost := _cost(told):
        yield "cost", cost
    yield "plan", told.plan_sha256


def _sessions(told: Explanation) -> str:
    from harness.units import format_number

    if told.counted is not None:
        return f"{format_number(told.counted, 9)}, and as many before as the time of the warm-up allows"
    return "as many as the time allows" if told.sessions is None else format_number(told.sessions, 9)


def _cost(told: Explanation) -> str:
    from harness.units import format_money

    def money(amount: float | None) -> str:
        return format_money(amount, told.currency or "")

    if told.cost_ceiling is not None:
        return f"at most {money(told.cost_ceiling)}, if no input is cached"
    if told.session_cost_ceiling is not None:
        return f"about {money(told.session_cost_ceiling)} a session, if no input is cached"
    if told.per_hour is None:
        return ""
    alone = "hardware" in told.hour_parts and "electricity" not in told.hour_parts
    hour = f"{money(told.per_hour)} an hour of the hardware{', without electricity' if alone else ''}"
    if told.hardware_cost is None:
        return f"{hour}, for as long as the sessions take"
    bound = "" if told.open_loop else "at most "
    return f"{bound}{money(told.hardware_cost)} until the last session starts ({hour})"


def _starts(told: Explanation) -> Iterator[str]:
    from harness.units import format_duration, format_number

    for start in told.first:
        sizes = f"{format_number(start.input_tokens, 9):>9} in {format_number(start.output_tokens, 9):>8} out"
        requests = f"{start.requests} request{'' if start.requests == 1 else 's'}"
        yield f"{format_duration(start.at_s):>10}   {start.session}   {requests:<13}{sizes}"
