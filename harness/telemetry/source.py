"""The small protocol of a telemetry source, and what it is told.

A source is registered under `harness.telemetry`; each runs in a thread of its own, so that a slow or hanging one
holds up neither the run nor its siblings. All registered sources are made and opened for every run: one that was not
asked for, or has nothing to read here, says so by raising `Missing` from `open`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Literal, Protocol
from urllib.parse import urlsplit

from harness.records.telemetry import Reading


class Settings(Protocol):
    """The keys of the config's `telemetry` section that sources read. Times in seconds."""

    @property
    def interval(self) -> float: ...
    @property
    def idle(self) -> float: ...
    @property
    def prometheus(self) -> bool | str: ...
    @property
    def gpu(self) -> bool | str | list[int]: ...
    @property
    def cpu(self) -> bool | str: ...
    @property
    def dcgm(self) -> str | None: ...
    @property
    def power_command(self) -> str | None: ...


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Whom the run asks. `headers` are those of its requests, secrets resolved; `pid` is known where we started it."""

    url: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    verify: bool | str = True
    pid: int | None = None
    simulated: bool = False

    @property
    def here(self) -> bool:
        """Whether it works on this machine, so that this machine's power is its power. A simulated engine draws
        nobody's power."""
        return not self.simulated and (self.pid is not None or _is_loopback(urlsplit(self.url).hostname))


class Missing(Exception):
    """A source has nothing to tell. `severity` None: nobody asked for it, so nothing is said."""

    def __init__(
        self, message: str = "", *, remedy: str = "", severity: Literal["info", "warning"] | None = "info"
    ) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.severity = severity


class Source(Protocol):
    """One place to read from. All calls come from one thread."""

    name: str

    def __init__(self, settings: Settings, engine: Engine) -> None: ...

    def open(self) -> None:
        """Find out whether there is anything to read. Raises Missing where not."""
        ...

    def sample(self) -> Reading:
        """Read once. May raise anything: the sample is then left out, and the run told once."""
        ...

    def close(self) -> None:
        """Let go. Called once, also where `open` failed."""
        ...


def _is_loopback(host: str | None) -> bool:
    if host is None:
        return False
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
