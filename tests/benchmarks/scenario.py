"""What is asked of every client: so many answers of so many tokens, from a server of this pace, in this way."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A closed loop of `concurrency` streams, or an open one of `rate` starts a second."""

    name: str
    title: str
    requests: int
    tokens: int
    ttft_ms: float = 0.0
    itl_ms: float = 0.0
    concurrency: int | None = None
    rate: float | None = None
    arrivals: str = "constant"

    @property
    def paced(self) -> bool:
        return self.itl_ms > 0

    def at_most(self, requests: int) -> Scenario:
        """The same with no more requests than this, to try things out."""
        return replace(self, requests=min(self.requests, requests))


def paced(streams: int, requests: int) -> Scenario:
    return Scenario(
        name=f"paced-{streams}",
        title=f"{streams:,} streams, true TTFT 200 ms, a token each 20 ms, 128 tokens",
        requests=requests,
        tokens=128,
        ttft_ms=200,
        itl_ms=20,
        concurrency=streams,
    )


def back_to_back(streams: int, requests: int) -> Scenario:
    return Scenario(
        name=f"back-to-back-{streams}",
        title=f"{streams:,} streams as fast as the server can send, 128 tokens",
        requests=requests,
        tokens=128,
        concurrency=streams,
    )


def short(requests: int) -> Scenario:
    return Scenario(
        name="short", title="64 streams, answers of 1 token at once", requests=requests, tokens=1, concurrency=64
    )


def open_loop(arrivals: str, requests: int) -> Scenario:
    return Scenario(
        name=f"open-{arrivals}",
        title=f"500 starts a second, {arrivals}, true TTFT 20 ms, a token each 5 ms, 16 tokens",
        requests=requests,
        tokens=16,
        ttft_ms=20,
        itl_ms=5,
        rate=500,
        arrivals=arrivals,
    )


SMALL = (
    paced(64, 128),
    paced(512, 1024),
    back_to_back(64, 1000),
    short(2000),
    open_loop("constant", 1500),
    open_loop("poisson", 1500),
)
FULL = (
    paced(64, 256),
    paced(512, 1536),
    paced(2048, 4096),
    back_to_back(64, 2000),
    back_to_back(512, 2000),
    short(4000),
    open_loop("constant", 5000),
    open_loop("poisson", 5000),
)
