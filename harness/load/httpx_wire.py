"""The same contract over httpx: any proxy, auth or transport that httpx has, at httpx's price per event.

Stamps are taken in user space when httpx hands over a piece, so they hold the loop's lateness. Bytes are those of heads
and bodies; how a body is divided into chunks on the wire is not seen.
"""

from __future__ import annotations

import httpx

from harness.clock import now_ns
from harness.load.exchange import Exchange
from harness.load.task_wire import TaskWire
from harness.load.tls import context_for
from harness.load.wire import Endpoint

_ERRORS: list[tuple[type[Exception], str]] = [
    (httpx.ConnectTimeout, "connect_timeout"),
    (httpx.ReadError, "connection_reset"),
    (httpx.WriteError, "connection_reset"),
    (httpx.TimeoutException, "timeout"),
    (httpx.DecodingError, "bad_http"),
]


def name_of(error: Exception) -> str:
    """Our name for an error of httpx."""
    if isinstance(error, httpx.ConnectError):
        text = str(error).lower()
        if "certificate" in text or "ssl" in text:
            return "tls_failed"
        return "connection_refused" if "refused" in text or "attempts failed" in text else "connection_error"
    if isinstance(error, httpx.RemoteProtocolError):
        text = str(error)
        if "disconnected" in text:
            return "connection_closed"
        return "truncated_stream" if "closed" in text else "bad_http"
    return next((name for kind, name in _ERRORS if isinstance(error, kind)), "connection_error")


def _head_bytes(request: httpx.Request) -> int:
    """Of the request's head, as HTTP/1.1 writes it."""
    return len(b"%b %b HTTP/1.1\r\n" % (request.method.encode(), request.url.raw_path)) + _lines_bytes(request.headers)


def _answer_head_bytes(response: httpx.Response) -> int:
    version = response.extensions.get("http_version", b"HTTP/1.1")
    reason = response.extensions.get("reason_phrase", b"")
    return len(b"%b %d %b\r\n" % (version, response.status_code, reason)) + _lines_bytes(response.headers)


def _lines_bytes(headers: httpx.Headers) -> int:
    return sum(len(b"%b: %b\r\n" % line) for line in headers.raw) + len(b"\r\n")


class HttpxWire(TaskWire):
    """See `harness.load.wire.Wire`."""

    def __init__(self, endpoint: Endpoint, transport: httpx.AsyncBaseTransport | None = None) -> None:
        super().__init__()
        self._base = endpoint.url.rstrip("/")
        self._request_ids = endpoint.request_ids
        self._client = httpx.AsyncClient(
            headers={"content-type": "application/json", "accept-encoding": "identity", **endpoint.headers},
            verify=context_for(endpoint.verify),
            timeout=None,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
            follow_redirects=False,
            transport=transport,
        )

    async def open(self, connections: int) -> None:
        """httpx opens connections by itself, one at a time as they are needed."""

    async def _ask(self, exchange: Exchange) -> None:
        try:
            async with self._client.stream(
                "POST",
                self._base + exchange.path,
                content=exchange.payload or exchange.body,
                headers={"x-request-id": exchange.id} if self._request_ids else None,
            ) as response:
                exchange.status = response.status_code
                exchange.headers = {name.lower(): value for name, value in response.headers.raw}
                exchange.first_byte_ns = now_ns()
                exchange.bytes_out = _head_bytes(response.request) + len(exchange.payload or exchange.body)
                exchange.bytes_framed = head = _answer_head_bytes(response)
                async for piece in response.aiter_bytes():
                    exchange.bodies.append(piece)
                    exchange.body_stamps.append(now_ns())
                    exchange.bytes_framed = head + response.num_bytes_downloaded
        except httpx.HTTPError as error:
            exchange.fail(name_of(error), str(error) or type(error).__name__)

    async def close(self) -> None:
        await super().close()
        await self._client.aclose()
