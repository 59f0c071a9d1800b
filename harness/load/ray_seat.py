"""One worker on a node of a Ray cluster, as the fleet sees it."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from harness import __version__
from harness.errors import UsageError
from harness.load import messages
from harness.load.messages import WorkerSpec
from harness.load.placement import Hear
from harness.load.ray_host import About, Heard
from harness.records.wallclock import wall_clock

_PATIENCE_S = 0.25
_ARRIVE_S = 60.0  # for an actor to be there: its process imports harness first
_AWAY_S = 30.0  # a node that is not reachable for so long is lost
_CLOSE_S = 12.0  # more than a worker gets on its own machine
_LOOPBACK = ("localhost", "127.", "::1", "[::1]")


class RaySeat:
    """`actor` is the handle of its `RayHost`."""

    def __init__(self, ray: Any, actor: Any, hear: Hear) -> None:
        self._ray = ray
        self.actor = actor
        self._hear = hear
        self.about: About | None = None
        self.worker = 0
        self.clock_offset_ns = 0  # the node's monotonic clock less ours
        self.lost = False
        self._words = "it ended"
        self._closing = False
        self._thread: threading.Thread | None = None

    @property
    def pid(self) -> int:
        return self.about.pid if self.about is not None else 0

    def brief(self, spec: WorkerSpec) -> None:
        """Tell it, and begin to listen.

        Raises:
            UsageError: the node cannot run the worker, or cannot reach the target.
        """
        self.worker = spec.shard
        try:
            self.about = self._ray.get(self.actor.about.remote(), timeout=_ARRIVE_S)
            self._check(spec.endpoint.url)
            self._ray.get(self.actor.brief.remote(messages.encode(spec)), timeout=_ARRIVE_S)
        except (self._ray.exceptions.RayError, TimeoutError) as error:
            said = str(error).strip().splitlines() or [type(error).__name__]
            raise UsageError(
                f"Ray could not start worker {spec.shard}: {said[-1][:300]}",
                remedy="every node needs the same Python, Ray and harness: pip install 'inference-harness[ray]'",
            ) from error
        records = os.open(spec.records_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._thread = threading.Thread(target=self._listen, args=(records,), daemon=True)
        self._thread.start()

    @property
    def node(self) -> str:
        """Where it is, for people."""
        return self.about.node if self.about is not None else "that never answered"

    def start(self, at_ns: int) -> None:
        self.actor.start.remote(at_ns + self.clock_offset_ns)

    def stop(self, *, drain: bool) -> None:
        if not self.lost:
            self.actor.stop.remote(drain)

    def how_it_ended(self) -> str:
        return self._words

    def close(self) -> None:
        self._closing = True
        with suppress(Exception):  # it may be gone, in one of many ways
            if not self.lost:
                self._ray.get(self.actor.close.remote(), timeout=_CLOSE_S)
        with suppress(Exception):
            self._ray.kill(self.actor)
        if self._thread is not None:
            self._thread.join(_CLOSE_S)

    def _check(self, url: str) -> None:
        assert self.about is not None
        if self.about.harness_version != __version__:
            told = f"node {self.node} has harness {self.about.harness_version}, this is {__version__}"
            raise UsageError(told, remedy="install the same version on every node")
        host = urlsplit(url).hostname or ""
        if host.startswith(_LOOPBACK) and self.about.boot != wall_clock().boot:
            told = f"{url} is the loopback: on node {self.node} it is another machine than here"
            raise UsageError(told, remedy="give backend.url an address that every node can reach")

    def _listen(self, records: int) -> None:
        """Write down the records as they come, then hand on the messages, until the worker or its node has ended."""
        try:
            self._follow(records)
        except self._ray.exceptions.RayError as error:
            self.lost = True
            gone = "was lost" if "node" in str(error) and "died" in str(error) else "lost its Ray actor"
            self._words = f"node {self.node} {gone}"
        except OSError as error:
            self._words = f"its records cannot be written: {error.strerror}"
        finally:
            os.close(records)
            self._hear(None)

    def _follow(self, records: int) -> None:
        taken = offset = 0
        whole, heard_at = True, time.monotonic()
        while not self._closing:
            patience_s = _PATIENCE_S if whole else 0.0
            try:
                heard: Heard = self._ray.get(self.actor.hear.remote(taken, offset, patience_s))
            except self._ray.exceptions.ActorUnavailableError:
                if time.monotonic() - heard_at > _AWAY_S:
                    raise
                time.sleep(_PATIENCE_S)
                continue
            heard_at, whole = time.monotonic(), heard.whole
            offset += len(heard.records)
            data = memoryview(heard.records)
            while data:
                data = data[os.write(records, data) :]
            if not whole:
                continue
            for line in heard.lines:
                self._hear(messages.decode_from_worker(line))
            taken += len(heard.lines)
            if heard.ended is not None:
                self._words = heard.ended
                return
