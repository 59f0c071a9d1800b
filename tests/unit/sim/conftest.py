"""A simulated engine on a real socket, in a thread of this process, and a client that sees every byte."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness.sim.http import Connection
from harness.sim.loop import precise_loop
from harness.sim.options import SimOptions
from harness.sim.profile import Profile
from harness.sim.simulator import Simulator
from harness.sim.truth import TruthFile


@dataclass
class Response:
    """What came back until the answer was whole or the connection ended. `end`: whole, eof or reset."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    chunks: list[bytes] = field(default_factory=list)
    body: bytes = b""
    end: str = "whole"

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def data(self) -> list[str]:
        """The data of each event."""
        return [line[6:] for line in self.body.decode().split("\n\n") if line.startswith("data: ")]

    @property
    def events(self) -> list[Any]:
        """Each event as JSON, `[DONE]` left out."""
        return [json.loads(data) for data in self.data if data != "[DONE]"]


class Client:
    """One connection that is kept open."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._buffer = b""

    def send(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        lines = [f"{method} {path} HTTP/1.1", "host: sim"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if "transfer-encoding" not in (headers or {}):
            lines.append(f"content-length: {len(body)}")
        self._socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode() + body)

    def send_raw(self, data: bytes) -> None:
        self._socket.sendall(data)

    def close(self) -> None:
        self._socket.close()

    def read(self) -> Response:
        response = Response()
        try:
            self._read(response)
        except ConnectionResetError:
            response.end = "reset"
        except EOFError:
            response.end = "eof"
        response.body += b"".join(response.chunks)
        return response

    def _read(self, response: Response) -> None:
        head, _, status = self._until(b"\r\n\r\n").decode().partition("\r\n")
        response.status = int(head.split()[1])
        for line in status.split("\r\n"):
            name, _, value = line.partition(": ")
            response.headers[name] = value
        if "content-length" in response.headers:
            wanted = int(response.headers["content-length"])
            while len(response.body) < wanted:
                if not self._buffer:
                    self._more()
                response.body += self._take(wanted - len(response.body))
            return
        while True:
            size = int(self._until(b"\r\n"), 16)
            chunk = self._exactly(size + 2)[:-2]
            if not size:
                return
            response.chunks.append(chunk)

    def _take(self, most: int) -> bytes:
        data, self._buffer = self._buffer[:most], self._buffer[most:]
        return data

    def _more(self) -> None:
        data = self._socket.recv(65536)
        if not data:
            raise EOFError
        self._buffer += data

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            self._more()
        found, _, self._buffer = self._buffer.partition(mark)
        return found

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._more()
        return self._take(size)


class Sim:
    """A running simulator. `stop` ends it and gives the truth it wrote."""

    def __init__(self, options: SimOptions, profile: Profile | None, path: Path) -> None:
        self._path = path
        self._loop = precise_loop()
        self._truth = TruthFile(path, self._loop)
        self.simulator = Simulator(options, profile, self._loop, self._truth)
        self.connections: set[Connection] = set()
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        started.wait(10)

    def _run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        make = self._loop.create_server(
            lambda: Connection(self.simulator.handle, self.connections, self.simulator.slow_accept),
            "127.0.0.1",
            0,
        )
        self._server = self._loop.run_until_complete(make)
        self.port = self._server.sockets[0].getsockname()[1]
        started.set()
        self._loop.run_forever()
        self._server.close()
        for connection in list(self.connections):
            connection.cut()
        self._loop.run_until_complete(asyncio.sleep(0.01))
        self._truth.close()
        self._loop.close()

    def client(self) -> Client:
        return Client(self.port)

    def get(self, path: str) -> Response:
        return self._once("GET", path, b"", {})

    def post(self, path: str, body: Any, **headers: str) -> Response:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self._once("POST", path, data, {name.replace("_", "-"): value for name, value in headers.items()})

    def chat(self, content: str = "hello there", *, request_id: str | None = None, **fields: Any) -> Response:
        body = {"messages": [{"role": "user", "content": content}], **fields}
        headers = {"x_request_id": request_id} if request_id else {}
        return self.post("/v1/chat/completions", body, **headers)

    def stream(self, content: str = "hello there", **fields: Any) -> Response:
        return self.chat(content, stream=True, **fields)

    def _once(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Response:
        client = self.client()
        try:
            client.send(method, path, body, headers)
            return client.read()
        finally:
            client.close()

    def stop(self) -> list[dict[str, Any]]:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
        return [json.loads(line) for line in self._path.read_text().splitlines()]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Sim]]:
    """Starts simulators: `start(profile, **options)`; all are stopped at the end of the test."""
    running: list[Sim] = []

    def begin(profile: Profile | None = None, **options: Any) -> Sim:
        if profile is None and "ttft" not in options:
            profile = Profile(name="test", model="test-model")
        checked = SimOptions(**options)
        checked.check()
        running.append(Sim(checked, profile, tmp_path / f"truth-{len(running)}.jsonl"))
        return running[-1]

    yield begin
    for sim in running:
        sim.stop()
