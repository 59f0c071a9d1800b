"""Starting a server of ours: its command, its port, the wait until it is healthy, its last words, its end.

A guardian process (`harness.backends.guardian`) stands between us and the server, so that the server's whole process
group ends with the block that started it, whatever becomes of us.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener

from harness.backends.guardian import GRACE_S
from harness.errors import ConfigError, TargetError

HOST = "127.0.0.1"
_LAST_LINES = 15
_TAIL_BYTES = 16_384
_POLL_S = 0.05
_DRAW_S = 0.25
_HEALTH_S = 5.0

_fetch = build_opener(ProxyHandler({})).open  # a proxy has no business between us and our own server


class Server:
    """A server that we started. `pid` is its own; `log` holds all it has said."""

    def __init__(self, name: str, command: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.command = list(command)
        self.log = log
        with log.open("ab") as output:
            self._guardian = subprocess.Popen(
                [sys.executable, "-m", "harness.backends.guardian", *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env={**os.environ, **env},
                start_new_session=True,
            )
        assert self._guardian.stdout is not None
        told = self._guardian.stdout.readline().strip()
        self.pid = int(told) if told else None

    def ended(self) -> str | None:
        """How it ended, in a few words; None while it runs."""
        code = self._guardian.poll()
        if code is None:
            return None
        if self.pid is None:
            return "it could not be started"
        return f"killed by {_signal_name(code - 128)}" if code > 128 else f"exit code {code}"

    def last_words(self, lines: int = _LAST_LINES) -> list[str]:
        """The last lines of its log that are not empty."""
        return last_words(self.log, lines)

    def stop(self) -> None:
        """End it and all it has started. May be called twice."""
        for pipe in (self._guardian.stdin, self._guardian.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        try:
            self._guardian.wait(2 * GRACE_S + 5.0)
        except subprocess.TimeoutExpired:
            self._guardian.kill()
            self._guardian.wait()


def last_words(log: Path, lines: int = _LAST_LINES) -> list[str]:
    """The last lines of a log that are not empty."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    said = [line.rpartition("\r")[2].rstrip() for line in text.splitlines()]
    return [line for line in said if line][-lines:]


@contextmanager
def serve(
    name: str, command: Sequence[str], *, health: str, timeout_s: float, env: Mapping[str, str], log: Path | None = None
) -> Iterator[Server]:
    """Start `command`, wait until the URL `health` answers 200, and stop it at the end of the block.

    What it says goes to `log`, or to a temporary file where none is given.

    Raises:
        TargetError: its port is taken, it ended, or it was not healthy in time; its last words are in the message.
    """
    _check_port(name, health)
    with _log_file(name, log) as path:
        server = Server(name, command, env, path)
        try:
            _await_health(server, health, timeout_s)
            yield server
        finally:
            server.stop()


@contextmanager
def _log_file(name: str, log: Path | None) -> Iterator[Path]:
    if log is not None:
        yield log
        return
    with tempfile.TemporaryDirectory(prefix="harness-", ignore_cleanup_errors=True) as folder:
        yield Path(folder) / f"{name}.log"


def _check_port(name: str, url: str) -> None:
    parts = urlsplit(url)
    address = (parts.hostname or HOST, parts.port or 80)
    with socket.socket() as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(address)
        except OSError:
            return
    raise TargetError(
        f"cannot start {name}: something else listens on {address[0]}:{address[1]} already",
        remedy="leave --port out of backend.launch.args: a free one is taken; or attach with backend.url",
    )


def _await_health(server: Server, url: str, timeout_s: float) -> None:
    """Wait, and show how long and what it says meanwhile."""
    started = time.monotonic()
    with _Told(server.name) as told:
        while True:
            if (ending := server.ended()) is not None:
                raise _failure(server, f"{server.name} did not start: {ending}")
            if _is_healthy(url):
                told.done(f"{server.name} is ready after {time.monotonic() - started:.1f} s")
                return
            waited = time.monotonic() - started
            if waited > timeout_s:
                problem = f"{server.name} was not healthy within {timeout_s:g} s ({url})"
                raise _failure(server, problem, "or give it longer: backend.launch.timeout. ")
            told.waiting(waited, server)
            time.sleep(_POLL_S)


def _is_healthy(url: str) -> bool:
    try:
        with _fetch(url, timeout=_HEALTH_S) as answer:
            return bool(answer.status == 200)
    except (HTTPError, URLError, OSError, ValueError):
        return False


def await_loaded(url: str, *, name: str, timeout_s: float) -> None:
    """Wait while a server that is up says 503 on this page: it loads its model. Anything else is left to be found.

    Raises:
        TargetError: it still loads after `timeout_s`.
    """
    started = time.monotonic()
    with _Told(name) as told:
        while _status(url) == 503:
            waited = time.monotonic() - started
            if waited > timeout_s:
                raise TargetError(f"{name} still loads its model after {timeout_s:g} s ({url} says 503)")
            told.waiting(waited, None)
            time.sleep(_DRAW_S)


def _status(url: str) -> int | None:
    try:
        with _fetch(url, timeout=_HEALTH_S) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code
    except (URLError, OSError, ValueError):
        return None


class _Told:
    """The wait as a person sees it: one line that changes on a terminal, two plain lines elsewhere."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lively = sys.stderr.isatty()
        self._drawn = -_DRAW_S
        self._said = False

    def __enter__(self) -> _Told:
        return self

    def waiting(self, waited_s: float, server: Server | None) -> None:
        if self._lively and waited_s - self._drawn >= _DRAW_S:
            self._drawn = waited_s
            words = server.last_words(1) if server is not None else ["it loads its model"]
            line = f" waiting for {self._name} · {waited_s:.0f} s" + (f" · {words[0]}" if words else "")
            width = os.get_terminal_size(sys.stderr.fileno()).columns - 1
            print(f"\r\x1b[K{line[:width]}", end="", file=sys.stderr, flush=True)
        elif not self._lively and not self._said:
            print(f"waiting for {self._name}", file=sys.stderr, flush=True)
        self._said = True

    def done(self, text: str) -> None:
        self._wipe()
        if self._said:
            print(text, file=sys.stderr, flush=True)

    def _wipe(self) -> None:
        if self._lively and self._said:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._wipe()


def _failure(server: Server, problem: str, more: str = "") -> TargetError:
    words = "\n".join(f"    {line}" for line in server.last_words()) or "    (it said nothing)"
    return TargetError(
        f"{problem}; its last words:\n{words}",
        remedy=f"Mend it, {more}Its command: {shlex.join(server.command)}"
        if more
        else f"Its command: {shlex.join(server.command)}",
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def address(url: str | None, words: Sequence[str], option: str = "--port") -> tuple[str, int, bool]:
    """(host, port, whether it must be told) of a server that is to be started with these words.

    `url` decides where it is given; then `--port` among the words; else a free port is taken.

    Raises:
        ConfigError: the port in the words is no number, or the URL that of a server elsewhere.
    """
    told = _port_in(words, option)
    if url is not None:
        parts = urlsplit(url)
        if parts.scheme != "http":
            raise ConfigError("backend.url", f"{url} cannot be what launch starts: that is reached by http")
        return parts.hostname or HOST, parts.port or 80, told is None
    if told is not None:
        return HOST, told, False
    return HOST, free_port(), True


def _port_in(words: Sequence[str], option: str) -> int | None:
    for word, following in zip(words, [*words[1:], ""], strict=False):
        text = following if word == option else word.removeprefix(f"{option}=")
        if word == option or text != word:
            if text == "{port}":
                return None
            if not text.isdigit():
                raise ConfigError("backend.launch", f"{option} {text!r} is no port number")
            return int(text)
    return None


def free_port() -> int:
    """A port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def filled(words: Sequence[str], *, host: str, port: int, model: str) -> list[str]:
    """The words of a command with `{host}`, `{port}` and `{model}` filled in. Other braces stay as they are."""
    known = {"{host}": host, "{port}": str(port), "{model}": model}
    out = []
    for word in words:
        for placeholder, value in known.items():
            word = word.replace(placeholder, value)  # noqa: PLW2901
        out.append(word)
    return out
