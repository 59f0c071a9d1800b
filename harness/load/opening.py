"""Opening the way to a target: its endpoint, the secrets it needs, and the wire that was chosen."""

from __future__ import annotations

import msgspec

from harness import secrets
from harness.config import BackendConfig, Experiment
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
    headers = dict(endpoint.headers)
    hidden = []
    for name, value in headers.items():
        if value.startswith(("env:", "file:")):
            headers[name] = secrets.resolve(value, path=f"backend.headers.{name}")
            hidden.append(headers[name])
    if params.api_key is not None:
        hidden.append(secrets.resolve(params.api_key, path="backend.api_key"))
        headers.setdefault("authorization", f"Bearer {hidden[-1]}")
    return msgspec.structs.replace(endpoint, headers=headers), hidden


def open_wire(name: str, endpoint: Endpoint) -> Wire:
    """The wire of this name, on the running loop."""
    if name == "harness":
        return HarnessWire(endpoint)
    from harness.load.httpx_wire import HttpxWire

    return HttpxWire(endpoint)
