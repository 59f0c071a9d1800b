"""What `harness probe` does and how it is told."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from harness.cli.told import as_json, console

if TYPE_CHECKING:
    from harness.load.survey import Survey

_ABILITIES = {
    "usage": "token counts in its answers (usage)",
    "cached_tokens": "cached prompt tokens in usage",
    "reasoning": "reasoning apart from the answer (reasoning, reasoning_content, thinking)",
    "server_timings": "timings of its own in the answer",
    "optional_fields": "accepts optional fields (stream_options, ...)",
    "keep_alive": "keeps connections open after a streamed answer",
    "tokenize": "/tokenize",
    "metrics": "/metrics (Prometheus)",
    "health": "/health",
    "prefix_cache_reset": "/reset_prefix_cache",
}


def probe_config(config: str, overrides: list[str]) -> Survey:
    """Probe the backend of a config; starts it first where the config says so."""
    from harness import registry
    from harness.config.load import load
    from harness.load.survey import survey

    experiment = load(config, overrides).experiment
    backend = registry.load("harness.backends", experiment.backend.kind)(experiment.backend)
    with backend.launch() as params:
        return survey(experiment, params)


def probe_url(url: str, *, model: str | None, api_key: str | None) -> Survey:
    """Probe an OpenAI-compatible endpoint.

    Raises:
        UsageError: the URL or a reference is wrong.
        TargetError: it cannot be reached or used.
    """
    from pydantic import ValidationError

    from harness.config import Experiment
    from harness.errors import UsageError
    from harness.load.survey import survey

    backend = {"kind": "openai", "url": url, "model": model, "api_key": api_key}
    data = {
        "name": "probe",
        "backend": {name: value for name, value in backend.items() if value is not None},
        "workload": {"kind": "chat"},
        "load": {"concurrency": 1},
    }
    try:
        experiment = Experiment.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    return survey(experiment, experiment.backend)


def tell(found: Survey, *, json: bool) -> None:
    """One screen, or one JSON document on stdout."""
    if json:
        sys.stdout.write(as_json(found))
        return
    screen = console()
    engine = " ".join(part for part in (found.engine or "engine unknown", found.engine_version or "") if part)
    screen.print(f" [green]✓[/] {found.url}   {engine}" + ("   SIMULATED" if found.simulated else ""))
    screen.print(f"   dialect   {found.dialect} · {found.api}")
    others = [name for name in found.models if name != found.model]
    more = f"   (also: {', '.join(others[:4])}{', …' if len(others) > 4 else ''})" if others else ""
    screen.print(f"   model     {found.model}{more}", markup=False)
    if found.tokens_per_word is not None:
        screen.print(
            f"   tokens    {found.tokens_per_word:.2f} a word of our filler,"
            f" {found.message_overhead_tokens:.0f} more a message, {found.prompt_overhead_tokens:.0f} more a prompt"
        )
    for name, words in _ABILITIES.items():
        able = found.abilities.get(name)
        mark = {True: "[green]✓[/]", False: "[yellow]–[/]", None: "?"}[able]
        screen.print(f"   {mark} {words}")
