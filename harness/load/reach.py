"""Reach the target before the load: is it there, does it speak the dialect, how long are our words in its tokens.

A few tiny requests at once, on the same wire as the load: one as the load will send it, the others tell how many tokens
our words are. Whatever is wrong with the target is found here, told in one line, and nothing is run.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import httpx
import msgspec

from harness import registry, secrets
from harness.backends.protocol import Backend, Call, Describes, Dialect, InProcess, Reply, Target
from harness.config import BackendConfig, Experiment
from harness.errors import TargetError
from harness.load.exchange import Exchange
from harness.load.harness_wire import HarnessWire
from harness.load.httpx_wire import name_of
from harness.load.lengths import lengths, questions
from harness.load.loop import run
from harness.load.naming import request_id
from harness.load.opening import endpoint_of, open_wire, with_secrets
from harness.load.reached import Reached
from harness.load.reading import Reading
from harness.load.tls import context_for
from harness.load.transport import HarnessTransport
from harness.load.wire import Endpoint, Wire
from harness.workloads.text import TextCalibration, filler

_PATIENCE_S = 60.0
_REFUSALS = (400, 422)
_ATTEMPTS = 3
_PASSING = ("http_429", "stream_error", "truncated_stream", "connection_reset", "empty_answer", "garbage_event")
_SETTLE_S = 0.02  # a server that closes after an answer does it within this

_REMEDIES = {
    "connection_refused": "Nothing listens there. Start the server, or let harness start it: backend.launch in the"
    " config.",
    "host_unreachable": "Check backend.url and the network.",
    "tls_failed": "Check the certificate; for a private authority give backend.verify a CA bundle's path.",
    "timeout": "The server accepted the connection but did not answer in time.",
    "http_400": "If it says no more: does it know all of backend.body, and speak backend.api?",
    "context_exceeded": "Give the server a longer context, or ask for less (workload.input_tokens, turns).",
    "http_401": "Set backend.api_key to env:NAME or file:PATH with a valid key.",
    "http_403": "The key is known but not allowed to do this.",
    "http_404": "Check backend.model, and that backend.url ends in the API's base path (often /v1).",
    "not_json": "Is this the API's base URL? It usually ends in /v1.",
    "bad_http": "What answers there does not speak HTTP; is it https instead of http?",
}
_NO_UUID = " Some servers refuse an x-request-id that is no UUID: backend.request_ids: uuid."
_WORDING = {
    "connection_refused": "connection refused",
    "host_unreachable": "host unreachable",
    "tls_failed": "TLS failed",
    "connection_reset": "connection reset",
    "connection_closed": "the connection was closed before any answer",
    "timeout": "no answer in time",
    "not_json": "it answered with something that is not JSON",
    "empty_answer": "it answered without any generated token",
    "truncated_stream": "its answer broke off",
    "context_exceeded": "prompt and answer do not fit into its context",
}


def reach(experiment: Experiment, params: BackendConfig, *, prepare: bool = False) -> Reached:
    """Reach the endpoint of `params` (whose url is known by now). `prepare` it for the load, too.

    An engine of our own process is not there yet: the worker loads it and reaches it. What is known before is told.

    Raises:
        TargetError: it cannot be reached or used, with what to do about it.
    """
    result: Reached = run(_reach(experiment, params, prepare))
    return result


async def _reach(experiment: Experiment, params: BackendConfig, prepare: bool) -> Reached:
    endpoint = endpoint_of(experiment, params)
    if isinstance(registry.load("harness.backends", params.kind)(params), InProcess):
        target = Target(backend=params.kind, url=endpoint.url, model=params.model or "")
        return Reached(target=target, endpoint=endpoint, calibration=TextCalibration(), keeps_connections=True)
    wire = open_wire(experiment.load.wire, with_secrets(endpoint, params)[0])
    await wire.open(0)
    try:
        return await reach_over(wire, experiment, params, prepare=prepare)
    finally:
        await wire.close()


async def reach_over(wire: Wire, experiment: Experiment, params: BackendConfig, *, prepare: bool) -> Reached:
    """As `reach`, over a wire that is open already.

    Raises:
        TargetError: as there.
    """
    endpoint = endpoint_of(experiment, params)
    secret_endpoint, hidden = with_secrets(endpoint, params)
    target = Target(backend=params.kind, url=endpoint.url, model=params.model or "")
    if not target.model:
        target.model = await _first_model(secret_endpoint, wire, params)
    backend = registry.load("harness.backends", params.kind)(params)
    replies = await _ask_until_answered(wire, backend, target, params, experiment.workload.exact_output)
    exchange, reply = replies[0]
    if exchange.error is not None:
        raise _target_error(endpoint.url, exchange, hidden, params)
    _describe(target, exchange, reply)
    target.abilities["reasoning"] = _reasons([reply for exchange, reply in replies if exchange.error is None])
    await asyncio.sleep(_SETTLE_S)
    keeps = not isinstance(wire, HarnessWire) or len(wire.idle) >= len(replies)
    await identify(target, secret_endpoint, wire, backend, prepare=prepare)
    return Reached(
        target=target,
        endpoint=msgspec.structs.replace(endpoint, reuse=keeps),
        calibration=await _calibration(replies[1:], target, secret_endpoint, wire),
        keeps_connections=keeps,
    )


def _describe(target: Target, exchange: Exchange, reply: Reply) -> None:
    """What the first answer tells of the server."""
    server = exchange.headers.get(b"server", b"").decode("latin-1")
    target.facts = {"server": server} if server else {}
    target.engine = "" if server in ("uvicorn", "") else server.split("/")[0]
    target.simulated = target.backend == "sim" or target.engine == "harness-sim"
    target.abilities = {
        "usage": reply.usage.output is not None,
        "cached_tokens": reply.usage.cached is not None,
        "server_timings": reply.server is not None,
        "optional_fields": not target.strict,
    }


def _reasons(replies: list[Reply]) -> bool | None:
    """Whether answers have reasoning in a field of its own; None where they say nothing at all."""
    if any(reply.reasoning for reply in replies):
        return True
    return False if any(reply.text for reply in replies) else None


async def identify(target: Target, endpoint: Endpoint, wire: Wire, backend: Backend, *, prepare: bool) -> None:
    """What the engine's own pages tell: its version, and whatever its backend knows to ask for."""
    root = endpoint.url.rstrip("/").removesuffix("/v1")
    async with _client(endpoint, wire, timeout=5.0) as client:
        if isinstance(backend, Describes):
            with suppress(httpx.HTTPError, ValueError):
                await backend.describe(target, client, root)
            if prepare:
                await backend.prepare(target, client, root)
            return
        try:
            response = await client.get(f"{root}/version")
            told = response.json() if response.status_code == 200 else None
        except (httpx.HTTPError, ValueError):
            return
    if isinstance(told, dict) and isinstance(told.get("version"), str):
        target.engine_version = told["version"]
        target.engine = target.engine or "vllm"


async def _ask_until_answered(
    wire: Wire, backend: Backend, target: Target, params: BackendConfig, exact: bool
) -> list[tuple[Exchange, Reply]]:
    """Ask; once more without optional fields where they are refused; again where the failure may pass."""
    replies = await _ask_all(wire, backend, target, params, exact, attempt=1)
    if any(exchange.status in _REFUSALS for exchange, _ in replies[:-1]):  # the last may be no prompt of its template
        target.strict = True
        replies = await _ask_all(wire, backend, target, params, exact, attempt=1)
    for attempt in range(2, _ATTEMPTS + 1):
        exchange, _ = replies[0]
        if exchange.error is None or ((exchange.status or 0) < 500 and exchange.error not in _PASSING):
            break
        replies = await _ask_all(wire, backend, target, params, exact, attempt=attempt)
    return replies


async def _ask_all(
    wire: Wire, backend: Backend, target: Target, params: BackendConfig, exact: bool, *, attempt: int
) -> list[tuple[Exchange, Reply]]:
    """The request as the load will send it, and those that measure our words, all at once."""
    plain = registry.load("harness.backends", params.kind)(params.model_copy(update={"stream": False}))
    hello = Call(
        id=f"probe-{attempt}-0",
        messages=[{"role": "user", "content": filler("probe", 4)}],
        output_tokens=2,
        exact_output=exact,
    )
    asked = [(backend.dialect(target), hello), *((plain.dialect(target), call) for call in questions(attempt))]
    uuids = getattr(params, "request_ids", True) == "uuid"
    named = [(dialect, call, request_id(call.id, as_uuid=uuids)) for dialect, call in asked]
    return list(await asyncio.gather(*(_ask(wire, *one) for one in named)))


async def _ask(wire: Wire, dialect: Dialect, call: Call, name: str) -> tuple[Exchange, Reply]:
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    exchange = Exchange(name, dialect.path, dialect.encode(call), lambda _: ended.set_result(None))
    wire.send(exchange)
    try:
        await asyncio.wait_for(asyncio.shield(ended), _PATIENCE_S)
    except TimeoutError:
        wire.abort(exchange, "timeout", f"within {_PATIENCE_S:g} s")
    reading = Reading(exchange, dialect)
    return exchange, reading.finish()


async def _calibration(
    replies: list[tuple[Exchange, Reply]], target: Target, endpoint: Endpoint, wire: Wire
) -> TextCalibration:
    counted = [reply.usage.input if exchange.error is None else None for exchange, reply in replies]
    async with _client(endpoint, wire, timeout=5.0) as client:
        return await lengths(counted, target, client, endpoint.url.rstrip("/").removesuffix("/v1"))


def _client(endpoint: Endpoint, wire: Wire, timeout: float) -> httpx.AsyncClient:
    """Ordinary httpx beside the load: on our own wire, or on httpx's where that was chosen."""
    if isinstance(wire, HarnessWire):
        return httpx.AsyncClient(transport=HarnessTransport(wire), headers=endpoint.headers, timeout=timeout)
    return httpx.AsyncClient(verify=context_for(endpoint.verify), headers=endpoint.headers, timeout=timeout)


async def _first_model(endpoint: Endpoint, wire: Wire, params: BackendConfig) -> str:
    """The first model the server lists.

    Raises:
        TargetError: it cannot be reached, or lists none.
    """
    async with _client(endpoint, wire, timeout=_PATIENCE_S) as client:
        try:
            response = await client.get(endpoint.url.rstrip("/") + "/models")
            listed: Any = response.json() if response.status_code == 200 else {}
        except httpx.TransportError as error:
            name = name_of(error)
            raise TargetError(
                f"cannot reach {endpoint.url}: {_in_words(name, str(error))}",
                remedy=_REMEDIES.get(name, "Check backend.url."),
            ) from error
        except ValueError:
            listed = {}
    if response.status_code in (401, 403):
        raise TargetError(
            f"cannot use {endpoint.url}: HTTP {response.status_code}", remedy=_REMEDIES[f"http_{response.status_code}"]
        )
    models = listed.get("data") if isinstance(listed, dict) else None
    if not models or not isinstance(models, list) or not isinstance(models[0], dict) or not models[0].get("id"):
        raise TargetError(
            f"{endpoint.url}/models lists no model (HTTP {response.status_code})",
            remedy="Name one: backend.model. Is this the API's base URL? It usually ends in /v1.",
        )
    return str(models[0]["id"])


def _target_error(url: str, exchange: Exchange, hidden: list[str], params: BackendConfig) -> TargetError:
    """One line for people, out of what went wrong."""
    name = exchange.error or ""
    said = secrets.redact(" ".join((exchange.detail or "").split())[:300], hidden)
    status = exchange.status or 0
    location = exchange.headers.get(b"location", b"").decode("latin-1")
    if 300 <= status < 400:
        return TargetError(
            f"cannot use {url}: it redirects to {location or 'somewhere else'} (HTTP {status})",
            remedy=f"Set backend.url to the final address{f': {location}' if location else ''}.",
        )
    if name.startswith("http_"):
        words = f"HTTP {status}{f': {said}' if said else ''}"
    else:
        words = _in_words(name, said)
    verb = "use" if status else "reach"
    remedy = _REMEDIES.get(name, "")
    if name == "http_400" and "request_ids" in type(params).model_fields:
        remedy += _NO_UUID
    return TargetError(f"cannot {verb} {url}: {words}", remedy=remedy)


def _in_words(name: str, said: str) -> str:
    return _WORDING.get(name, name) + (f" ({said})" if said and name != "connection_refused" else "")
