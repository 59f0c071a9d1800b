"""The harness wire under httpx: ordinary httpx code, httpx's own exceptions."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from harness.load.harness_wire import HarnessWire
from harness.load.loop import run
from harness.load.transport import HarnessTransport
from harness.load.wire import Endpoint

Use = Callable[[httpx.AsyncClient, HarnessWire], Any]


def over_httpx(url: str, use: Use) -> Any:
    async def main() -> Any:
        wire = HarnessWire(Endpoint(url=url))
        wire._spare = lambda: False  # type: ignore[method-assign]
        await wire.open(0)
        try:
            async with httpx.AsyncClient(transport=HarnessTransport(wire), timeout=5.0) as client:
                return await use(client, wire)
        finally:
            await wire.close()

    return run(main())


def test_get(serve: Any, answers: Any) -> None:
    server = serve(answers.always(answers.plain(b'{"data": []}', b"content-type: application/json")))

    async def use(client: httpx.AsyncClient, wire: HarnessWire) -> Any:
        answered = [await client.get(f"{server.url}/models", params={"a": "1"}) for _ in range(2)]
        return answered, wire.connects

    answered, connects = over_httpx(server.url, use)
    assert [(response.status_code, response.json()) for response in answered] == [(200, {"data": []})] * 2
    assert connects == 1
    assert server.requests[0].startswith(b"GET /v1/models?a=1 HTTP/1.1\r\n")
    assert b"content-length" not in server.requests[0]


def test_post_json(serve: Any, answers: Any) -> None:
    server = serve(answers.always(answers.chunked(b"o", b"k", kind=b"text/plain")))

    async def use(client: httpx.AsyncClient, _: HarnessWire) -> Any:
        return await client.post(f"{server.url}/tokenize", json={"prompt": "x"}, headers={"x-a": "1"})

    assert over_httpx(server.url, use).text == "ok"
    assert b"\r\nx-a: 1\r\n" in server.requests[0] and server.requests[0].endswith(b'{"prompt":"x"}')


def test_compressed_answers_are_unpacked(serve: Any, answers: Any) -> None:
    server = serve(answers.always(answers.plain(gzip.compress(b"hello"), b"content-encoding: gzip")))

    async def use(client: httpx.AsyncClient, _: HarnessWire) -> Any:
        return await client.get(server.url)

    assert over_httpx(server.url, use).text == "hello"


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"", httpx.ReadError),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab", httpx.RemoteProtocolError),
        (b"SSH-2.0\r\n\r\n", httpx.RemoteProtocolError),
    ],
)
def test_broken_answers(serve: Any, answers: Any, sent: bytes, error: type[Exception]) -> None:
    server = serve(answers.once(sent))

    async def use(client: httpx.AsyncClient, _: HarnessWire) -> Any:
        with pytest.raises(error) as raised:
            await client.get(server.url)
        return raised.value

    assert over_httpx(server.url, use).request.url == server.url


def test_refused(unused_port: int) -> None:
    async def use(client: httpx.AsyncClient, _: HarnessWire) -> None:
        with pytest.raises(httpx.ConnectError, match=r"(?i)refused"):
            await client.get(f"http://127.0.0.1:{unused_port}/")

    over_httpx(f"http://127.0.0.1:{unused_port}", use)


def test_read_timeout(serve: Any) -> None:
    server = serve(lambda peer: peer.wait())

    async def use(client: httpx.AsyncClient, _: HarnessWire) -> None:
        with pytest.raises(httpx.ReadTimeout, match=r"0\.05 s"):
            await client.get(server.url, timeout=0.05)

    over_httpx(server.url, use)


def test_cancelled(serve: Any) -> None:
    closed: list[bool] = []

    def script(peer: Any) -> None:
        peer.wait()
        closed.append(True)

    server = serve(script)

    async def use(client: httpx.AsyncClient, _: HarnessWire) -> None:
        task = asyncio.create_task(client.get(server.url))
        await asyncio.sleep(0.03)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.03)

    over_httpx(server.url, use)
    assert closed == [True]
