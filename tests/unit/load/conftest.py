"""A server that says exactly what a test scripts, byte for byte, and a client that asks it over any wire."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.load import loop as wire_loop
from harness.load.exchange import Exchange
from harness.load.harness_wire import HarnessWire
from harness.load.httpx_wire import HttpxWire
from harness.load.wire import Endpoint


class Peer:
    """The server's end of one connection."""

    def __init__(self, sock: socket.socket, server: ScriptedServer) -> None:
        self._socket = sock
        self._server = server
        self._buffer = b""

    def request(self) -> bytes:
        """The next request, head and body; b"" when the client has closed."""
        while b"\r\n\r\n" not in self._buffer:
            if not self._more():
                return b""
        head, _, _ = self._buffer.partition(b"\r\n\r\n")
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        wanted = int(lengths[0].split(b":")[1]) if lengths else 0
        while len(self._buffer) - len(head) - 4 < wanted:
            if not self._more():
                return b""
        size = len(head) + 4 + wanted
        whole, self._buffer = self._buffer[:size], self._buffer[size:]
        self._server.requests.append(whole)
        return whole

    def _more(self) -> bool:
        with suppress(OSError):
            data = self._socket.recv(1 << 20)
            self._buffer += data
            return bool(data)
        return False

    def send(self, *parts: bytes, pause: float = 0.002) -> None:
        """Send each part by itself, with a pause between two."""
        for number, part in enumerate(parts):
            if number:
                time.sleep(pause)
            self._socket.sendall(part)

    def wait(self) -> None:
        """Wait until the client closes."""
        while self._more():
            pass

    def close(self) -> None:
        self._socket.close()

    def reset(self) -> None:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()


Script = Callable[[Peer], None]


class ScriptedServer:
    """Plays `scripts`, one a connection in order; the last one is for all that follow."""

    def __init__(self, scripts: tuple[Script, ...], context: ssl.SSLContext | None, family: int, pause: float) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self._scripts = scripts
        self._context = context
        self._pause = pause
        self._sockets: list[socket.socket] = []
        self._listener = socket.socket(family)
        self._listener.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        self._listener.listen(64)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}/v1"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            script = self._scripts[min(self.connections, len(self._scripts) - 1)]
            self.connections += 1
            self._sockets.append(sock)
            threading.Thread(target=self._play, args=(sock, script), daemon=True).start()

    def _play(self, sock: socket.socket, script: Script) -> None:
        time.sleep(self._pause)
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True)
                self._sockets.append(sock)
            script(Peer(sock, self))
            sock.close()

    def stop(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._sockets:
            with suppress(OSError):
                sock.close()


Serve = Callable[..., ScriptedServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """`serve(script, ...)` starts a scripted server; all are stopped at the end of the test."""
    running: list[ScriptedServer] = []

    def begin(
        *scripts: Script, context: ssl.SSLContext | None = None, family: int = socket.AF_INET, pause: float = 0.0
    ) -> ScriptedServer:
        running.append(ScriptedServer(scripts, context, family, pause))
        return running[-1]

    yield begin
    for server in running:
        server.stop()


@dataclass
class Answers:
    """Scripts that answer, and the bytes of common answers."""

    @staticmethod
    def plain(body: bytes, *lines: bytes, status: bytes = b"200 OK") -> bytes:
        return b"\r\n".join([b"HTTP/1.1 " + status, b"content-length: %d" % len(body), *lines, b"", body])

    @staticmethod
    def chunked(*pieces: bytes, kind: bytes = b"text/event-stream") -> bytes:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ntransfer-encoding: chunked\r\n\r\n" % kind
        return head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"

    @staticmethod
    def always(*parts: bytes, pause: float = 0.002) -> Script:
        """Answers each request of a connection with these parts."""

        def script(peer: Peer) -> None:
            while peer.request():
                peer.send(*parts, pause=pause)

        return script

    @staticmethod
    def once(*parts: bytes, pause: float = 0.002) -> Script:
        """Answers one request, then closes."""

        def script(peer: Peer) -> None:
            if peer.request():
                peer.send(*parts, pause=pause)

        return script


@pytest.fixture
def answers() -> Answers:
    return Answers()


class Client:
    """One wire on a loop of its own, and what was asked over it."""

    def __init__(self, make: Callable[[Endpoint], Any]) -> None:
        self._make = make
        self.wire: Any = None

    def run(
        self, url: str, main: Callable[[Client], Any], *, warm: int = 0, spare: bool = False, **options: Any
    ) -> Any:
        """Open a wire to `url`, run `await main(self)` and close it. `spare`: keep a connection in hand."""

        async def body() -> Any:
            self.wire = self._make(Endpoint(url=url, **options))
            if not spare:
                self.wire._spare = lambda: False
            await self.wire.open(warm)
            try:
                return await asyncio.wait_for(main(self), 20)
            finally:
                await self.wire.close()

        return wire_loop.run(body())

    def begin(self, body: bytes = b"{}", request_id: str = "id-1") -> tuple[Exchange, asyncio.Future[None]]:
        """Send a request; the exchange, and the future of its end. A second end would raise."""
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        exchange = Exchange(request_id, "/chat/completions", body, lambda _: ended.set_result(None))
        self.wire.render(exchange)
        self.wire.send(exchange)
        return exchange, ended

    async def ask(self, body: bytes = b"{}", request_id: str = "id-1") -> Exchange:
        """Send a request and wait for its end."""
        exchange, ended = self.begin(body, request_id)
        await asyncio.wait_for(ended, 15)
        return exchange

    def ask_once(self, url: str, **options: Any) -> Exchange:
        exchange: Exchange = self.run(url, lambda client: client.ask(), **options)
        return exchange

    @staticmethod
    def body(exchange: Exchange) -> bytes:
        """The body, framed and decompressed."""
        if exchange.http is not None:
            exchange.frame()
        return b"".join(exchange.bodies)


@pytest.fixture(params=["harness", "portable", "httpx"])
def client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Client:
    """A client over each wire; `portable` is ours on systems without epoll."""
    if request.param == "portable":
        monkeypatch.setattr(wire_loop, "EpollSelector", wire_loop.PortableSelector)
    return Client(HttpxWire if request.param == "httpx" else HarnessWire)


@pytest.fixture(params=["harness", "portable"])
def own(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Client:
    """A client over our own wire."""
    if request.param == "portable":
        monkeypatch.setattr(wire_loop, "EpollSelector", wire_loop.PortableSelector)
    return Client(HarnessWire)


@pytest.fixture
def unused_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate for 127.0.0.1."""

    path: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """Of the server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path, self.key)
        return context


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command")
    folder = tmp_path_factory.mktemp("tls")
    made = Certificate(folder / "cert.pem", folder / "key.pem")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1"
    subject = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", made.key, "-out", made.path]
    subprocess.run([*command.split(), *subject], check=True, capture_output=True)
    return made


@pytest.fixture
def virtual_throttle(monkeypatch: pytest.MonkeyPatch) -> None:
    """asyncio-throttle on the time of the loop that runs."""
    from asyncio_throttle import throttler

    monkeypatch.setattr(throttler, "time", SimpleNamespace(monotonic=lambda: asyncio.get_running_loop().time()))
