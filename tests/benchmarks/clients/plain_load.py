"""A load of streamed chat completions with httpx or aiohttp, used in the plain way: a coroutine a stream, line by line.

    python plain_load.py httpx|aiohttp URL --requests N --tokens N --stamps FILE (--concurrency N | --rate F)

Each `data:` line is stamped when it is read and then parsed as JSON. The stamps are written as `floor.c` writes them.
Runs in a venv of its own and imports nothing of the benchmark.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from time import monotonic_ns, process_time
from typing import Any, Protocol

import uvloop


class Lines(Protocol):
    """Asks once and gives the lines of the answer."""

    def __call__(self, body: dict[str, Any], request_id: str) -> AsyncIterator[str]: ...


@asynccontextmanager
async def with_httpx(url: str) -> AsyncIterator[Lines]:
    import httpx

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(limits=limits, timeout=120) as client:

        async def lines(body: dict[str, Any], request_id: str) -> AsyncIterator[str]:
            async with client.stream("POST", url, json=body, headers={"x-request-id": request_id}) as response:
                response.raise_for_status()
                async for line in response.aiter_lines():
                    yield line

        yield lines


@asynccontextmanager
async def with_aiohttp(url: str) -> AsyncIterator[Lines]:
    import aiohttp  # type: ignore[import-not-found,unused-ignore]

    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:

        async def lines(body: dict[str, Any], request_id: str) -> AsyncIterator[str]:
            async with session.post(url, json=body, headers={"x-request-id": request_id}) as response:
                response.raise_for_status()
                async for line in response.content:
                    yield line.decode().rstrip("\r\n")

        yield lines


async def ask(lines: Lines, index: int, tokens: int, due: int | None) -> dict[str, Any]:
    body = {
        "model": "bench/mock",
        "messages": [{"role": "user", "content": "count from one to sixteen and say when your tokens have left"}],
        "max_tokens": tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    stamps: list[int] = []
    text: list[str] = []
    sent = monotonic_ns()
    async for line in lines(body, f"{index:06d}"):
        if not line.startswith("data:"):
            continue
        stamps.append(monotonic_ns() - sent)
        data = line[5:].strip()
        if data != "[DONE]":
            text.extend(choice["delta"].get("content") or "" for choice in json.loads(data)["choices"])
    call = {"id": f"{index:06d}", "sent": sent, "stamps": stamps, "characters": len("".join(text))}
    return call if due is None else {**call, "due": due}


def offsets(rate: float, arrivals: str, seed: int = 7) -> Iterator[float]:
    at, draw = 0.0, random.Random(seed)
    while True:
        yield at
        at += 1 / rate if arrivals == "constant" else draw.expovariate(rate)


async def closed_loop(lines: Lines, wanted: argparse.Namespace) -> list[dict[str, Any]]:
    todo = iter(range(wanted.requests))

    async def one_stream() -> list[dict[str, Any]]:
        return [await ask(lines, index, wanted.tokens, None) for index in todo]

    done = await asyncio.gather(*(one_stream() for _ in range(wanted.concurrency)))
    return [call for calls in done for call in calls]


async def open_loop(lines: Lines, wanted: argparse.Namespace) -> list[dict[str, Any]]:
    tasks, begin = [], monotonic_ns()
    for index, offset in zip(range(wanted.requests), offsets(wanted.rate, wanted.arrivals), strict=False):
        due = begin + round(offset * 1e9)
        await asyncio.sleep(max(0, due - monotonic_ns()) / 1e9)
        tasks.append(asyncio.create_task(ask(lines, index, wanted.tokens, due)))
    return list(await asyncio.gather(*tasks))


async def main(wanted: argparse.Namespace) -> None:
    library = with_httpx if wanted.library == "httpx" else with_aiohttp
    async with library(wanted.url + "/v1/chat/completions") as lines:
        before = process_time()
        calls = await (open_loop if wanted.rate else closed_loop)(lines, wanted)
        cpu = process_time() - before
    with open(wanted.stamps, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(call) + "\n" for call in calls)
    print(json.dumps({"cpu_s": cpu}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("library", choices=["httpx", "aiohttp"])
    parser.add_argument("url")
    parser.add_argument("--requests", type=int, required=True)
    parser.add_argument("--tokens", type=int, required=True)
    parser.add_argument("--stamps", required=True)
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--arrivals", choices=["constant", "poisson"], default="constant")
    uvloop.run(main(parser.parse_args()))
