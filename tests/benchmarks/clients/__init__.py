"""One file a client. Each makes the load of a scenario as its users would, and tells what it measured in our words."""

from __future__ import annotations

from pathlib import Path

from clients.aiperf import AiPerf
from clients.floor import Floor
from clients.guidellm import GuideLlm
from clients.ours import Harness
from clients.plain import Plain
from clients.protocol import Client
from clients.sglang import SglangRust
from clients.vllm import VllmBench, VllmRust


def every_client(*, peers: bool, vllm: Path | None = None) -> list[Client]:
    """All clients in the order of the tables; other tools only where `peers` is set."""
    plain: list[Client] = [Harness(), Floor("user"), Floor("kernel"), Plain("aiohttp"), Plain("httpx")]
    if not peers:
        return [client for client in plain if client.name != "C floor, kernel clock"]
    return [*plain, VllmRust(), SglangRust(), VllmBench(vllm), AiPerf(), GuideLlm()]


def is_peer(client: Client) -> bool:
    """It is another client: neither harness nor a floor."""
    return not isinstance(client, Harness | Floor)
