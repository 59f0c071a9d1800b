"""The event loop of a worker: asyncio, with the sockets that carry answers served inside the selector.

A streamed answer is one read per token; asyncio's machinery around each would cost more than the read. So a
connection registers its file descriptor as *hot*: when it is readable, the selector itself calls the connection's
handler and goes on waiting, and asyncio wakes up only when something has ended, a timer is due, or a descriptor of
somebody else (httpx, pipes) is ready. While no socket is ready, the loop spends the time on *chores*: small slices of
deferred parsing and rendering.

Timers are kept to some ten microseconds where epoll is at hand: its own timeout counts milliseconds, so the last
stretch is waited for with select() on the epoll descriptor.
"""

from __future__ import annotations

import asyncio
import select
import selectors
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

Handler = Callable[[int], None]
Chore = Callable[[], bool]  # does one slice of its work; False when it is done

READ = 1  # EPOLLIN, and EVENT_READ
WRITE = 4  # EPOLLOUT

_EDGE = getattr(select, "EPOLLET", 0) | getattr(select, "EPOLLRDHUP", 0)
_PRECISE_S = 0.002
_SHARE = 0.1  # of a busy loop's time that goes to chores, against the rest of its time
_MOST_SHARE = 4.0  # where their queue grows
_LONG_QUEUE = 16
_clock = time.monotonic


class _Hot:
    """What both selectors below share: handlers of hot descriptors, the wake flag, chores."""

    def __init__(self) -> None:
        self.handlers: dict[int, Handler] = {}
        self.chores: deque[Chore] = deque()
        self.woken = False
        self._chored = 0.0  # when chores had their last turn
        self._credit = 0.0  # time they may take now; what they took too much is below zero

    def some_chores(self, now: float, *, idle: bool) -> None:
        """A slice of the first chore while the loop is idle. A loop that never idles gives them a share of its time,
        no more: reads go first, so that no two events of a stream pile up in one. A queue longer than all open
        connections could have filled at once costs memory: the longer it is, the larger its share."""
        chores = self.chores
        if idle:
            credit = 1e-9
        else:
            pressure = len(chores) / (_LONG_QUEUE + len(self.handlers))
            credit = self._credit + (now - self._chored) * min(_MOST_SHARE, _SHARE * (1 + pressure * pressure))
        while credit > 0:
            if not chores[0]():  # it stays first until it says that it is done
                chores.popleft()
                if not chores:
                    break
            done = _clock()
            credit -= done - now
            now = done
        self._credit = min(credit, 0.0)
        self._chored = now


if TYPE_CHECKING or hasattr(selectors, "EpollSelector"):
    _Epoll = selectors.EpollSelector
else:
    _Epoll = selectors.SelectSelector  # never made


class EpollSelector(_Hot, _Epoll):
    """Linux: one epoll for hot and ordinary descriptors.

    Hot ones are told of once, when something has come (edge-triggered): the kernel need not look again whether it was
    read. A handler that has left something calls `change`, and is told again.
    """

    def __init__(self) -> None:
        _Epoll.__init__(self)
        _Hot.__init__(self)
        self._epoll: select.epoll = self._selector  # type: ignore[attr-defined]

    def add(self, fd: int, handler: Handler, mask: int) -> None:
        self.handlers[fd] = handler
        self._epoll.register(fd, mask | _EDGE)

    def change(self, fd: int, mask: int) -> None:
        self._epoll.modify(fd, mask | _EDGE)

    def remove(self, fd: int) -> None:
        del self.handlers[fd]
        self._epoll.unregister(fd)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        poll, hot, chores = self._epoll.poll, self.handlers, self.chores
        now = _clock()
        deadline = None if timeout is None else now + timeout
        self.woken = False
        while True:
            events = poll(0.0 if chores else self._wait(deadline, now), 128)
            cold: list[tuple[int, int]] = []
            for fd, mask in events:
                handler = hot.get(fd)
                if handler is not None:
                    handler(mask)
                else:
                    cold.append((fd, mask))
            now = _clock()
            if chores:
                self.some_chores(now, idle=not events)
            if cold:
                return self._ordinary(cold)
            if self.woken or (deadline is not None and now >= deadline):
                return []

    def _wait(self, deadline: float | None, now: float) -> float:
        """How long epoll may wait; the last two milliseconds before a deadline are waited for right here."""
        if deadline is None:
            return -1.0
        left = deadline - now
        if left <= 0:
            return 0.0
        if left > _PRECISE_S:
            return left - _PRECISE_S / 2
        select.select([self._epoll], (), (), left)
        return 0.0

    def _ordinary(self, cold: list[tuple[int, int]]) -> list[tuple[selectors.SelectorKey, int]]:
        ready = []
        table = self.get_map()
        for fd, mask in cold:
            key = table.get(fd)
            if key is not None:
                event = (selectors.EVENT_WRITE if mask & ~READ else 0) | (selectors.EVENT_READ if mask & ~WRITE else 0)
                ready.append((key, event & key.events))
        return ready


class PortableSelector(_Hot, selectors.DefaultSelector):
    """Other systems: the same contract over whatever selector the system has."""

    def __init__(self) -> None:
        selectors.DefaultSelector.__init__(self)
        _Hot.__init__(self)

    def add(self, fd: int, handler: Handler, mask: int) -> None:
        self.handlers[fd] = handler
        self.register(fd, _portable(mask))

    def change(self, fd: int, mask: int) -> None:
        self.modify(fd, _portable(mask))

    def remove(self, fd: int) -> None:
        del self.handlers[fd]
        self.unregister(fd)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        now = _clock()
        deadline = None if timeout is None else now + timeout
        self.woken = False
        while True:
            wait = None if deadline is None else max(0.0, deadline - now)
            events = selectors.DefaultSelector.select(self, 0.0 if self.chores else wait)
            cold = []
            for key, event in events:
                handler = self.handlers.get(key.fd)
                if handler is None:
                    cold.append((key, event))
                else:
                    handler(
                        (READ if event & selectors.EVENT_READ else 0) | (WRITE if event & selectors.EVENT_WRITE else 0)
                    )
            now = _clock()
            if self.chores:
                self.some_chores(now, idle=not events)
            if cold or self.woken or (deadline is not None and now >= deadline):
                return cold


def _portable(mask: int) -> int:
    return (selectors.EVENT_READ if mask & READ else 0) | (selectors.EVENT_WRITE if mask & WRITE else 0)


class WireLoop(asyncio.SelectorEventLoop):
    """An asyncio loop with hot descriptors. All methods are for the loop's own thread."""

    def __init__(self) -> None:
        self._wire: EpollSelector | PortableSelector = (
            EpollSelector() if hasattr(select, "epoll") else PortableSelector()
        )
        super().__init__(self._wire)

    def add_hot(self, fd: int, handler: Handler, mask: int = READ) -> None:
        """Call `handler(mask)` from inside the selector whenever `fd` is ready."""
        self._wire.add(fd, handler, mask)

    def change_hot(self, fd: int, mask: int) -> None:
        self._wire.change(fd, mask)

    def hand_hot(self, fd: int, handler: Handler) -> None:
        """Let another handler serve it from now on."""
        self._wire.handlers[fd] = handler

    def remove_hot(self, fd: int) -> None:
        self._wire.remove(fd)

    def wake(self) -> None:
        """Let asyncio run: a hot handler has scheduled something."""
        self._wire.woken = True

    def add_chore(self, chore: Chore) -> None:
        """Work to do in slices while no socket is ready: called again and again until it returns False."""
        self._wire.chores.append(chore)


def run(main: Any) -> Any:
    """Run a coroutine on a fresh `WireLoop`."""
    with asyncio.Runner(loop_factory=WireLoop) as runner:
        return runner.run(main)
