"""The harness wire as an httpx transport: ordinary httpx code on the same sockets, stamps and TLS.

For calls that are not streamed (listing models, tokenising, scraping): the answer is handed over when it is whole.
One transport speaks to one origin, the one its wire was made for.
"""

from __future__ import annotations

import asyncio

import httpx

from harness.load.exchange import Exchange
from harness.load.harness_wire import HarnessWire

_KINDS: dict[str, type[httpx.TransportError]] = {
    "connection_refused": httpx.ConnectError,
    "host_unreachable": httpx.ConnectError,
    "tls_failed": httpx.ConnectError,
    "connect_timeout": httpx.ConnectTimeout,
    "timeout": httpx.ReadTimeout,
    "truncated_stream": httpx.RemoteProtocolError,
    "bad_http": httpx.RemoteProtocolError,
}
_PATIENCE_S = 30.0


class HarnessTransport(httpx.AsyncBaseTransport):
    """See httpx: pass it as `httpx.AsyncClient(transport=...)`. Raises httpx's own exceptions."""

    def __init__(self, wire: HarnessWire) -> None:
        self._wire = wire

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = b"".join([piece async for piece in request.stream])  # type: ignore[union-attr]
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        exchange = Exchange("", "", body, lambda _: None if ended.done() else ended.set_result(None))
        exchange.payload = self._render(request, body)
        self._wire.send(exchange)
        patience = (request.extensions.get("timeout") or {}).get("read") or _PATIENCE_S
        try:
            await asyncio.wait_for(ended, patience)
        except TimeoutError:
            self._wire.abort(exchange, "timeout", f"no complete answer within {patience:g} s")
        except asyncio.CancelledError:
            self._wire.abort(exchange, "cancelled")
            raise
        if exchange.error is not None:
            kind = _KINDS.get(exchange.error, httpx.ReadError)
            raise kind(exchange.detail or exchange.error, request=request)
        assert exchange.http is not None
        headers = [(k, v) for k, v in exchange.headers.items() if k not in (b"content-encoding", b"transfer-encoding")]
        exchange.http.release()
        return httpx.Response(exchange.status or 0, headers=headers, content=b"".join(exchange.bodies), request=request)

    @staticmethod
    def _render(request: httpx.Request, body: bytes) -> bytes:
        lines = [b"%b %b HTTP/1.1" % (request.method.encode(), request.url.raw_path)]
        skip = {b"transfer-encoding", b"content-length", b"accept-encoding", b"connection"}
        lines += [b"%b: %b" % (k, v) for k, v in request.headers.raw if k.lower() not in skip]
        if body or request.method == "POST":
            lines.append(b"content-length: %d" % len(body))
        return b"\r\n".join(lines) + b"\r\n\r\n" + body
