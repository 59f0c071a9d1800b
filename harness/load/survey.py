"""A survey of an endpoint: everything `harness probe` can find out by asking politely."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import msgspec

from harness import registry
from harness.backends.protocol import Dialect
from harness.config import BackendConfig, Experiment
from harness.load.appointment import Appointment
from harness.load.briefing import worker_specs
from harness.load.fleet import Fleet
from harness.load.harness_wire import HarnessWire
from harness.load.loop import run
from harness.load.opening import endpoint_of, with_secrets
from harness.load.reach import reach
from harness.load.reached import Reached
from harness.load.transport import HarnessTransport
from harness.load.wire import IN_PROCESS
from harness.plan import make_plan
from harness.records.folder import RunFolder

_PATIENCE_S = 10.0


class Survey(msgspec.Struct, kw_only=True):
    """What an endpoint is and can do. `abilities` True, False, or None where it could not be told.

    `dialect` is openai, anthropic or responses; `api` the call that is made of it: chat, completions, messages, ...
    """

    url: str
    model: str
    models: list[str] = []
    engine: str = ""
    engine_version: str | None = None
    dialect: str = "openai"
    api: str = "chat"
    simulated: bool = False
    tokens_per_word: float | None = None
    message_overhead_tokens: float | None = None
    prompt_overhead_tokens: float | None = None
    abilities: dict[str, bool | None] = {}
    pages: dict[str, int | None] = {}


def survey(experiment: Experiment, params: BackendConfig) -> Survey:
    """Ask the endpoint of `params` a handful of small questions.

    Raises:
        TargetError: it cannot be reached or used.
    """
    reached = reach(experiment, params)
    pages: dict[str, int | None] = {}
    models: list[str] = []
    if reached.endpoint.url == IN_PROCESS:
        reached = _loaded(experiment, params, reached)
    else:
        pages, models = run(_pages(experiment, params, reached.target.model))
    target, calibration = reached.target, reached.calibration
    dialect: Dialect = registry.load("harness.backends", params.kind)(params).dialect(target)
    measured = calibration.source == "server"
    return Survey(
        url=target.url,
        model=target.model,
        models=models,
        engine=target.engine,
        engine_version=target.engine_version,
        dialect=dialect.name,
        api=params.api if dialect.name == "openai" else dialect.path.strip("/"),
        simulated=target.simulated,
        tokens_per_word=calibration.b if measured else None,
        message_overhead_tokens=calibration.m if measured else None,
        prompt_overhead_tokens=calibration.a if measured else None,
        abilities=_abilities(reached, pages),
        pages=pages,
    )


def _loaded(experiment: Experiment, params: BackendConfig, reached: Reached) -> Reached:
    """Have a worker load the engine, ask it, and end."""
    plan = make_plan(experiment)
    with TemporaryDirectory(prefix="harness-") as place, Fleet(1) as fleet:
        folder = RunFolder.create(Path(place), "probe")
        return fleet.brief(worker_specs(folder, plan, params, reached, 1, Appointment())) or reached


def _abilities(reached: Reached, pages: dict[str, int | None]) -> dict[str, bool | None]:
    found: dict[str, bool | None] = dict(reached.target.abilities)
    if not pages:
        return found
    found["keep_alive"] = reached.keeps_connections
    found["tokenize"] = pages["/tokenize"] == 200
    found["metrics"] = pages["/metrics"] == 200
    found["health"] = pages["/health"] == 200
    found["prefix_cache_reset"] = pages["/reset_prefix_cache"] not in (None, 404)
    return found


async def _pages(experiment: Experiment, params: BackendConfig, model: str) -> tuple[dict[str, int | None], list[str]]:
    """The status of the pages engines have beside the API, and the models that are listed."""
    endpoint, _ = with_secrets(endpoint_of(experiment, params), params)
    base = endpoint.url.rstrip("/")
    root = base.removesuffix("/v1")
    wire = HarnessWire(endpoint)
    await wire.open(0)
    async with httpx.AsyncClient(
        transport=HarnessTransport(wire), headers=endpoint.headers, timeout=_PATIENCE_S
    ) as client:
        asked: dict[str, Any] = {
            "/models": client.get(f"{base}/models"),
            "/tokenize": client.post(
                f"{root}/tokenize", json={"model": model, "prompt": "one two", "content": "one two"}
            ),
            "/metrics": client.get(f"{root}/metrics"),
            "/health": client.get(f"{root}/health"),
            "/version": client.get(f"{root}/version"),
            "/reset_prefix_cache": client.get(f"{root}/reset_prefix_cache"),  # GET: never resets anything
        }
        answers = dict(zip(asked, await asyncio.gather(*asked.values(), return_exceptions=True), strict=True))
    await wire.close()
    pages = {page: None if isinstance(a, BaseException) else a.status_code for page, a in answers.items()}
    return pages, _models(answers["/models"])


def _models(answer: httpx.Response | BaseException) -> list[str]:
    if isinstance(answer, BaseException) or answer.status_code != 200:
        return []
    try:
        listed = answer.json()
    except ValueError:
        return []
    models = listed.get("data") if isinstance(listed, dict) else None
    return [str(model["id"]) for model in models or () if isinstance(model, dict) and "id" in model]
