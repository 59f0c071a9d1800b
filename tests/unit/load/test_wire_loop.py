"""The loop of a worker: hot descriptors, chores, precise timers, and asyncio beside them."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from harness.load import loop as wire_loop
from harness.load.loop import READ, WRITE, WireLoop

Run = Callable[[Callable[[WireLoop], Coroutine[Any, Any, Any]]], Any]


@pytest.fixture(params=["epoll", "portable"])
def on_loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Run:
    if request.param == "portable":
        monkeypatch.setattr(wire_loop, "EpollSelector", wire_loop.PortableSelector)

    def run(main: Callable[[WireLoop], Coroutine[Any, Any, Any]]) -> Any:
        async def body() -> Any:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, WireLoop)
            return await asyncio.wait_for(main(loop), 20)

        return wire_loop.run(body())

    return run


def test_a_hot_descriptor_is_served_without_asyncio(on_loop: Run) -> None:
    async def main(loop: WireLoop) -> list[tuple[int, bytes]]:
        ours, theirs = socket.socketpair()
        seen: list[tuple[int, bytes]] = []
        ended = loop.create_future()

        def handler(mask: int) -> None:
            seen.append((mask, ours.recv(100)))
            if len(seen) == 3:
                ended.set_result(None)
                loop.wake()
            else:
                theirs.send(b"again")

        loop.add_hot(ours.fileno(), handler)
        theirs.send(b"first")
        await ended
        loop.remove_hot(ours.fileno())
        theirs.send(b"nobody hears")
        await asyncio.sleep(0.01)
        ours.close()
        theirs.close()
        return seen

    assert on_loop(main) == [(READ, b"first"), (READ, b"again"), (READ, b"again")]


def test_what_a_handler_waits_for_can_change(on_loop: Run) -> None:
    async def main(loop: WireLoop) -> list[int]:
        ours, theirs = socket.socketpair()
        masks: list[int] = []
        ended = loop.create_future()

        def handler(mask: int) -> None:
            masks.append(mask)
            if len(masks) == 1:
                loop.change_hot(ours.fileno(), READ)
                theirs.send(b"x")
            else:
                ended.set_result(None)
                loop.wake()
                loop.remove_hot(ours.fileno())

        loop.add_hot(ours.fileno(), handler, WRITE)
        await ended
        ours.close()
        theirs.close()
        return masks

    assert on_loop(main) == [WRITE, READ]


def test_ordinary_asyncio_works_beside_it(on_loop: Run) -> None:
    async def main(loop: WireLoop) -> bytes:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.read(1 << 20))
            writer.close()

        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"hello")
        answer = await reader.read()
        writer.close()
        server.close()
        threaded = await loop.run_in_executor(None, lambda: b" world")
        return answer + threaded

    assert on_loop(main) == b"hello world"


def test_timers_come_in_order_and_never_early(on_loop: Run) -> None:
    async def main(loop: WireLoop) -> list[tuple[float, float]]:
        start = loop.time()
        seen: list[tuple[float, float]] = []
        for delay in (0.012, 0.0005, 0.005, 0.0, 0.0031):
            loop.call_at(start + delay, lambda delay=delay: seen.append((delay, loop.time() - start)))
        await asyncio.sleep(0.03)
        return seen

    seen = on_loop(main)
    assert [delay for delay, _ in seen] == [0.0, 0.0005, 0.0031, 0.005, 0.012]
    assert all(at >= delay - 1e-6 for delay, at in seen)


def test_a_chore_is_done_slice_by_slice_and_holds_up_nobody(on_loop: Run) -> None:
    async def main(loop: WireLoop) -> tuple[list[str], int]:
        done: list[str] = []
        beats = 0

        def chore(name: str, slices: int) -> Callable[[], bool]:
            def work() -> bool:
                nonlocal slices
                slices -= 1
                done.append(name)
                return slices > 0

            return work

        loop.add_chore(chore("a", 3))
        loop.add_chore(chore("b", 2))
        while len(done) < 5:
            beats += 1
            await asyncio.sleep(0)
        await asyncio.sleep(0.005)
        return done, beats

    done, beats = on_loop(main)
    assert done == ["a", "a", "a", "b", "b"]
    assert beats > 1


def test_chores_get_their_turn_on_a_loop_that_never_idles(on_loop: Run) -> None:
    async def main(loop: WireLoop) -> int:
        ours, theirs = socket.socketpair()
        theirs.send(b"x")
        done = 0

        def busy(_mask: int) -> None:
            time.sleep(0.0002)  # always ready, never read

        def chore() -> bool:
            nonlocal done
            done += 1
            return False

        loop.add_hot(ours.fileno(), busy)
        for _ in range(300):
            loop.add_chore(chore)
        while done < 300:
            await asyncio.sleep(0.002)
        loop.remove_hot(ours.fileno())
        ours.close()
        theirs.close()
        return done

    assert on_loop(main) == 300
