"""Opening the way to a target: its endpoint, the secrets it needs, and the wire that was chosen."""

from __future__ import annotations

import msgspec

from harness.config import BackendConfig, Experiment, references
from harness.load.harness_wire import HarnessWire
from harness.load.wire import IN_PROCESS, Endpoint, Wire


def endpoint_of(experiment: Experiment, params: BackendConfig) -> Endpoint:
    """Where the load goes. Secrets stay references; whoever opens the wire resolves them."""
    return Endpoint(
        url=str(params.url or IN_PROCESS),
        headers=dict(params.headers),
        verify=params.verify,
        kernel_stamps=experiment.load.kernel_stamps,
        request_ids=getattr(params, "request_ids", True),
    )


def with_secrets(endpoint: Endpoint, params: BackendConfig) -> tuple[Endpoint, list[str]]:
    """The endpoint with its secret references resolved, and the values that must never be shown."""
    headers = references.headers(params)
    hidden = [value for name, value in headers.items() if value != params.headers[name]]
    if (key := references.api_key(params)) is not None:
        hidden.append(key)
        headers.setdefault("authorization", f"Bearer {key}")
    return msgspec.structs.replace(endpoint, headers=headers), hidden


def open_wire(name: str, endpoint: Endpoint) -> Wire:
    """The wire of this name, on the running loop."""
    if name == "harness":
        return HarnessWire(endpoint)
    from harness.load.httpx_wire import HttpxWire

    return HttpxWire(endpoint)
