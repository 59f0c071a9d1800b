"""`harness sim`: serve the simulated engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from harness.errors import UsageError
from harness.units import parse_duration, parse_rate

_T = TypeVar("_T")
_D = TypeVar("_D")
_FAULTS = "Faults"
_CHANCE = "a share (1%), or @3,7 for the 3rd and 7th request"


def _fault(words: str, metavar: str = "P") -> Any:
    return typer.Option(help=words, metavar=metavar, rich_help_panel=_FAULTS)


def _read(option: str, text: str | None, parse: Callable[[str], _T], default: _D) -> _T | _D:
    """The parsed value of an option, or `default` where it was not given."""
    if text is None:
        return default
    try:
        return parse(text)
    except ValueError as error:
        raise UsageError(f"--{option}: {error}") from None


def sim(
    profile: Annotated[
        str | None, typer.Option(help="Profile, by name or path of a YAML file (default h100-vllm-8b)")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one")] = 8000,
    ttft: Annotated[str | None, typer.Option(help="Fixed pace: time to first token, e.g. 30ms")] = None,
    itl: Annotated[str | None, typer.Option(help="Fixed pace: time between tokens, e.g. 2ms")] = None,
    truth: Annotated[Path | None, typer.Option(help="Write what really happened to this file")] = None,
    seed: Annotated[int, typer.Option(help="Seed of texts, jitter and faults")] = 0,
    time_scale: Annotated[float, typer.Option(help="Times simulated durations; 0.1: ten times as fast")] = 1.0,
    strict_model: Annotated[bool, typer.Option(help="Refuse other model names than the profile's")] = False,
    role_first: Annotated[bool, typer.Option(help="Send the role event before the prefill")] = False,
    tokens_per_event: Annotated[int, typer.Option(help="Tokens in every event after the first")] = 1,
    parent_pid: Annotated[int | None, typer.Option(help="Exit when this process is gone")] = None,
    error_rate: Annotated[str | None, _fault(f"Answer with an HTTP error: {_CHANCE}")] = None,
    status: Annotated[int | None, _fault("Status of --error-rate; alone: of every answer", "CODE")] = None,
    midstream_error: Annotated[str | None, _fault("An error object as an event, inside HTTP 200")] = None,
    truncate: Annotated[str | None, _fault("Close the connection in the middle of the answer")] = None,
    reset: Annotated[str | None, _fault("Reset the connection (TCP RST) in the middle")] = None,
    stall: Annotated[str | None, _fault("Send nothing for --stall-for, then all that was due")] = None,
    stall_for: Annotated[str | None, _fault("How long a stall lasts", "DURATION")] = None,
    empty: Annotated[str | None, _fault("An answer without a token")] = None,
    garbage: Annotated[str | None, _fault("One event that is no JSON")] = None,
    slow_accept: Annotated[str | None, _fault("Wait before a new connection is read", "DURATION")] = None,
    rate_limit: Annotated[str | None, _fault("Answer 429 above this, e.g. 10/s", "RATE")] = None,
) -> None:
    """Serve a simulated inference engine: real HTTP, OpenAI dialect, continuous batching, known timing.

    \b
    An engine:     harness sim --profile h100-vllm-8b
    A fixed pace:  harness sim --ttft 30ms --itl 2ms --truth truth.jsonl
    With faults:   harness sim --truncate 1% --stall @3,7 --stall-for 2s
    """
    from harness.sim.faults import Faults, parse_chance
    from harness.sim.options import SimOptions
    from harness.sim.server import serve

    faults = Faults(
        error_rate=_read("error-rate", error_rate, parse_chance, 0.0),
        empty=_read("empty", empty, parse_chance, 0.0),
        midstream_error=_read("midstream-error", midstream_error, parse_chance, 0.0),
        truncate=_read("truncate", truncate, parse_chance, 0.0),
        reset=_read("reset", reset, parse_chance, 0.0),
        stall=_read("stall", stall, parse_chance, 0.0),
        garbage=_read("garbage", garbage, parse_chance, 0.0),
        stall_for=_read("stall-for", stall_for, parse_duration, 0.0),
        slow_accept=_read("slow-accept", slow_accept, parse_duration, 0.0),
        rate_limit=_read("rate-limit", rate_limit, parse_rate, None),
        status=status,
    )
    options = SimOptions(
        profile=profile,
        host=host,
        port=port,
        ttft=_read("ttft", ttft, parse_duration, None),
        itl=_read("itl", itl, parse_duration, None),
        truth=truth,
        seed=seed,
        time_scale=time_scale,
        strict_model=strict_model,
        role_first=role_first,
        tokens_per_event=tokens_per_event,
        parent_pid=parent_pid,
        faults=faults,
    )
    serve(options)
