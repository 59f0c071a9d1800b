"""A backend whose server harness can start: what vLLM, llama.cpp and every other OpenAI-compatible server share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from harness.backends import launch
from harness.backends.openai_dialect import Fields, OpenAIDialect
from harness.backends.protocol import Dialect, Target
from harness.config import BackendConfig, references
from harness.config.experiment import Launch
from harness.errors import ConfigError


class Served:
    """Attach to a server, or start it where the config has `backend.launch`. Subclasses fill in what differs."""

    name = "the server"  # as people know it
    health = "/health"  # below the server's root; answers 200 when it is ready
    host_option = "--host"
    port_option = "--port"
    base = "/v1"  # of the API, below the server's root

    def __init__(self, params: Any) -> None:
        self.params = params
        self._server: launch.Server | None = None

    # -- what subclasses change

    def command(self, launch_: Launch) -> list[str]:
        """The command that starts the server, with placeholders; without `launch.args` and the address.

        Raises:
            ConfigError: harness does not know how.
        """
        raise ConfigError(
            "backend.launch.command",
            f"harness does not know how to start the server of kind {self.params.kind}",
            remedy='give the whole command: command: ["server", "--port", "{port}"]',
        )

    def where(self, words: list[str]) -> list[str]:
        """Options that tell the server where to listen, as far as `words` do not."""
        options = [] if _has(words, self.host_option) else [self.host_option, "{host}"]
        return options if _has(words, self.port_option) else [*options, self.port_option, "{port}"]

    def environment(self) -> dict[str, str]:
        """Further environment variables of the server; `launch.env` goes over them."""
        return {}

    def fields(self, target: Target) -> Fields:
        return Fields()

    # -- the protocol

    @contextmanager
    def launch(self, log: Path | None = None) -> Iterator[BackendConfig]:
        """Start the server where the config says so. Yields the params with `url`; stops it at exit.

        Raises:
            ConfigError: the command cannot be made, or there is neither a server to attach to nor one to start.
            TargetError: the server did not get healthy; its last words are in the message.
        """
        asked: Launch | None = self.params.launch
        if asked is None:
            if self.params.url is None:
                raise ConfigError(
                    "backend",
                    "there is neither a url of a server that is up, nor launch to start one",
                    remedy="add url: http://127.0.0.1:8000/v1, or launch: {model: ...}",
                )
            yield self.params
            return
        words, url = self._words(asked)
        env = self.environment() | references.launch_env(self.params)
        root = url.removesuffix(self.base)
        health = root + self.health
        with launch.serve(
            self.params.kind, words, health=health, timeout_s=asked.timeout, env=env, log=log
        ) as self._server:
            yield self.params.model_copy(update={"url": url})

    def _words(self, asked: Launch) -> tuple[list[str], str]:
        """The whole command, and the base URL of the API it will serve."""
        words = [*(asked.command or self.command(asked)), *asked.args]
        host, port, tell = launch.address(self.params.url, words, self.port_option)
        if tell and not any("{port}" in word for word in words):
            if asked.command is not None and self.params.url is None:
                raise ConfigError(
                    "backend.launch.command",
                    "has no {port}, so harness cannot tell where the server will listen",
                    remedy="put {port} where the command takes the port, or give backend.url too",
                )
            if asked.command is None:
                words += self.where(words)
        if any("{model}" in word for word in words) and not asked.model:
            raise ConfigError("backend.launch.model", "is missing: which model is the server to load?")
        base = urlsplit(self.params.url).path if self.params.url else self.base
        url = f"http://{host}:{port}{base.rstrip('/')}"
        return launch.filled(words, host=host, port=port, model=asked.model or ""), url

    @property
    def pid(self) -> int | None:
        """Of the server, where we started it."""
        return None if self._server is None else self._server.pid

    def ended(self) -> str | None:
        """How the server we started has ended, with its last words; None while it runs or was not ours."""
        how = None if self._server is None else self._server.ended()
        if self._server is None or how is None:
            return None
        return "\n".join([f"{self.name} ended ({how}); its last words:", *self._server.last_words()])

    def dialect(self, target: Target) -> Dialect:
        return OpenAIDialect(self.params, target.model, strict=target.strict, fields=self.fields(target))


def _has(words: list[str], option: str) -> bool:
    return any(word == option or word.startswith(f"{option}=") for word in words)
