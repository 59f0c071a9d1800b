"""`harness sim`: serve the simulated engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from harness.errors import UsageError
from harness.units import parse_duration, parse_rate

if TYPE_CHECKING:
    from harness.sim.faults import Faults

_T = TypeVar("_T")
_D = TypeVar("_D")
_FAULTS = "Faults"
_CHANCE = "a share (1%), or @3,7 for the 3rd and 7th request"


def _fault(words: str, metavar: str = "P") -> Any:
    return typer.Option(help=words, metavar=metavar, rich_help_panel=_FAULTS)


def _read(name: str, text: str | None, parse: Callable[[str], _T], default: _D) -> _T | _D:
    """The parsed value of an option, or `default` where it was not given."""
    if text is None:
        return default
    try:
        return parse(text)
    except ValueError as error:
        raise UsageError(f"--{name.replace('_', '-')}: {error}") from None


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
    from harness.sim.options import SimOptions
    from harness.sim.server import serve

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
        faults=_faults(
            {"error_rate": error_rate, "empty": empty, "midstream_error": midstream_error, "garbage": garbage}
            | {"truncate": truncate, "reset": reset, "stall": stall},
            {"stall_for": stall_for, "slow_accept": slow_accept},
            rate_limit=_read("rate_limit", rate_limit, parse_rate, None),
            status=status,
        ),
    )
    serve(options)


def _faults(
    chances: dict[str, str | None], times: dict[str, str | None], *, rate_limit: float | None, status: int | None
) -> Faults:
    """The faults asked for, from the texts of their options."""
    from harness.sim.faults import Faults, parse_chance

    given: dict[str, Any] = {name: _read(name, text, parse_chance, 0.0) for name, text in chances.items()}
    given |= {name: _read(name, text, parse_duration, 0.0) for name, text in times.items()}
    return Faults(**given, rate_limit=rate_limit, status=status)
