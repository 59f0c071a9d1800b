"""Our own wire, where it does more than any client must: stale connections, split reads, stamps, warm connections."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from harness.clock import now_ns
from harness.errors import TargetError
from harness.load import connection as connection_module
from harness.load import keeper, kernelclock
from harness.load.exchange import Exchange

EVENT = b'data: {"n": 1}\n\n'


def test_the_end_of_an_answer_cut_anywhere(own: Any, serve: Any, answers: Any) -> None:
    answer = answers.chunked(EVENT)
    tail = len(b"%b\r\n0\r\n\r\n" % EVENT[-4:])
    cuts = range(len(answer) - tail, len(answer))

    def script(peer: Any) -> None:
        for cut in cuts:
            peer.request()
            peer.send(answer[:cut], answer[cut:])

    async def main(client: Any) -> list[Any]:
        return [await client.ask() for _ in cuts]

    server = serve(script)
    for exchange in own.run(server.url, main):
        assert exchange.error is None
        assert own.body(exchange) == EVENT
    assert server.connections == 1


def test_the_end_of_an_answer_byte_by_byte(own: Any, serve: Any, answers: Any) -> None:
    answer = answers.chunked(EVENT, EVENT)
    last = [answer[place : place + 1] for place in range(len(answer) - 30, len(answer))]
    exchange = own.ask_once(serve(answers.always(answer[:-30], *last)).url)
    assert exchange.error is None
    assert own.body(exchange) == EVENT * 2


def test_a_long_answer_is_told_as_it_piles_up(own: Any, serve: Any, answers: Any) -> None:
    piles: list[int] = []
    chunk = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)
    head = answers.chunked().removesuffix(b"0\r\n\r\n")

    def script(peer: Any) -> None:
        peer.request()
        peer.send(head, *[chunk] * 600, b"0\r\n\r\n", pause=0.0003)

    async def main(client: Any) -> Any:
        exchange, ended = client.begin()

        def progress(exchange: Exchange) -> None:
            piles.append(len(exchange.parts))
            exchange.frame()

        exchange.progress = progress
        await ended
        return exchange

    exchange = own.run(serve(script).url, main)
    assert own.body(exchange) == EVENT * 600
    assert set(piles) <= {keeper.PILE}


def closes_later(answers: Any) -> Any:
    """A script: one answer, and a little later the end."""

    def script(peer: Any) -> None:
        peer.request()
        peer.send(answers.chunked(EVENT), b"", pause=0.02)

    return script


async def unnoticed_end(wire: Any) -> None:
    """Let the server close the idle connection as if the wire had not heard of it yet."""
    idle = wire.idle.pop()
    wire.loop.remove_hot(idle._fd)
    await asyncio.sleep(0.06)
    wire.loop.add_hot(idle._fd, idle._readable, 1)
    wire.idle.append(idle)


def test_a_stale_connection_costs_a_resend_and_no_failure(own: Any, serve: Any, answers: Any) -> None:
    server = serve(closes_later(answers), answers.always(answers.chunked(EVENT)))

    async def main(client: Any) -> Any:
        first = await client.ask()
        await unnoticed_end(client.wire)
        return first, await client.ask(b"second"), client.wire

    first, second, wire = own.run(server.url, main)
    assert (first.error, second.error, wire.resends) == (None, None, 1)
    assert second.sent_ns < second.connected_ns
    assert [request.endswith(b"second") for request in server.requests] == [False, True]
    assert second.bytes_out == len(second.payload)


def test_a_warm_connection_that_went_stale_before_its_first_use(own: Any, serve: Any, answers: Any) -> None:
    def close_at_once(peer: Any) -> None:
        peer.request()
        peer.reset()  # the request never reached the application

    server = serve(close_at_once, answers.always(answers.chunked(EVENT)))

    async def main(client: Any) -> Any:
        return await client.ask(), client.wire.resends

    exchange, resends = own.run(server.url, main, warm=1)
    assert (exchange.error, resends) == (None, 1)


def test_it_is_sent_again_only_once(own: Any, serve: Any, answers: Any) -> None:
    server = serve(closes_later(answers), answers.once())

    async def main(client: Any) -> Any:
        await client.ask()
        await unnoticed_end(client.wire)
        return await client.ask()

    assert own.run(server.url, main).error == "connection_closed"
    assert server.connections == 2


def test_a_fresh_connection_that_fails_is_a_failure(own: Any, serve: Any) -> None:
    def script(peer: Any) -> None:
        peer.request()
        peer.reset()

    server = serve(script)
    assert own.ask_once(server.url).error == "connection_reset"
    assert server.connections == 1


@pytest.mark.parametrize("junk", [b"HTTP/1.1 408 Request Timeout\r\n\r\n", b"junk", b""])
def test_an_idle_connection_that_hears_anything_is_dropped(own: Any, serve: Any, answers: Any, junk: bytes) -> None:
    def script(peer: Any) -> None:
        peer.request()
        peer.send(answers.chunked(EVENT), junk, pause=0.03)
        if junk:
            peer.wait()

    server = serve(script, answers.always(answers.chunked(EVENT)))

    async def main(client: Any) -> Any:
        await client.ask()
        kept = len(client.wire.idle)
        await asyncio.sleep(0.08)
        left = len(client.wire.idle)
        return kept, left, await client.ask()

    kept, left, exchange = own.run(server.url, main)
    assert (kept, left, exchange.error) == (1, 0, None)
    assert server.connections == 2


def test_connection_close_is_obeyed(own: Any, serve: Any, answers: Any) -> None:
    server = serve(answers.always(answers.plain(EVENT, b"connection: close")))

    async def main(client: Any) -> int:
        await client.ask()
        return len(client.wire.idle)

    assert own.run(server.url, main) == 0


def test_warm_connections(own: Any, serve: Any, answers: Any) -> None:
    server = serve(answers.always(answers.chunked(EVENT)))

    async def main(client: Any) -> Any:
        idle = len(client.wire.idle)
        asked = await asyncio.gather(*(client.ask() for _ in range(4)))
        return idle, client.wire.connects, asked

    idle, connects, asked = own.run(server.url, main, warm=3)
    assert (idle, connects) == (3, 4)
    assert sorted(exchange.connect_ns is None for exchange in asked) == [False, True, True, True]
    fresh = next(exchange for exchange in asked if exchange.connect_ns is not None)
    assert fresh.sent_ns < fresh.connected_ns < fresh.first_byte_ns
    assert 0 < fresh.connect_ns < fresh.connected_ns


def test_one_connection_is_kept_in_hand(own: Any, serve: Any, answers: Any) -> None:
    server = serve(answers.always(answers.chunked(EVENT)))

    async def main(client: Any) -> Any:
        first, ended = client.begin()
        await ended
        await asyncio.sleep(0.03)
        hand = len(client.wire.idle)
        return first, hand, await asyncio.gather(client.ask(), client.ask())

    first, hand, later = own.run(server.url, main, spare=True)
    assert first.connect_ns is not None and hand == 2
    assert [exchange.connect_ns for exchange in later] == [None, None]


def test_a_server_that_is_known_to_close_gets_a_fresh_connection_each_time(own: Any, serve: Any, answers: Any) -> None:
    server = serve(answers.always(answers.chunked(EVENT)))

    async def main(client: Any) -> list[Any]:
        return [await client.ask() for _ in range(3)]

    asked = own.run(server.url, main, reuse=False, spare=True)
    assert all(exchange.error is None and exchange.connect_ns for exchange in asked)
    assert server.connections == 3


def test_a_spare_connection_to_nobody_is_no_failure(own: Any, unused_port: int) -> None:
    async def main(client: Any) -> list[str]:
        return [(await client.ask()).error for _ in range(5)]

    assert own.run(f"http://127.0.0.1:{unused_port}", main, spare=True) == ["connection_refused"] * 5


def test_warm_connections_to_nobody(own: Any, unused_port: int) -> None:
    async def main(client: Any) -> Any:
        return len(client.wire.idle), await client.ask()

    idle, exchange = own.run(f"http://127.0.0.1:{unused_port}", main, warm=5)
    assert (idle, exchange.error) == (0, "connection_refused")


def test_a_name_that_does_not_resolve(own: Any) -> None:
    with pytest.raises(TargetError, match=r"cannot resolve nowhere\.invalid"):
        own.ask_once("http://nowhere.invalid/v1")


def test_the_first_address_that_answers_is_taken(
    own: Any, serve: Any, answers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(answers.always(answers.chunked(EVENT)))
    v6 = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", server.port, 0, 0))
    v4 = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))

    async def resolve(*_arguments: Any, **_options: Any) -> Any:
        return [v6, v4]

    monkeypatch.setattr(asyncio.SelectorEventLoop, "getaddrinfo", resolve)
    assert own.ask_once(f"http://localhost:{server.port}/v1").error is None


def test_an_address_in_brackets(own: Any, serve: Any, answers: Any) -> None:
    try:
        server = serve(answers.always(answers.chunked(EVENT)), family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 on this machine")
    assert own.ask_once(f"http://[::1]:{server.port}/v1").error is None
    assert b"host: [::1]:%d\r\n" % server.port in server.requests[0]


def test_an_address_that_is_refused_at_once(own: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(socket.socket):
        def connect_ex(self, _address: Any) -> int:
            return 101  # ENETUNREACH

    monkeypatch.setattr(connection_module.socket, "socket", Refusing)
    exchange = own.ask_once("http://127.0.0.1:9/v1", kernel_stamps=False)
    assert (exchange.error, exchange.detail) == ("host_unreachable", "Network is unreachable")


def test_no_descriptor_left(own: Any, monkeypatch: pytest.MonkeyPatch, unused_port: int) -> None:
    def none_left(*_arguments: Any) -> Any:
        raise OSError(24, "Too many open files")

    async def main(client: Any) -> Any:
        monkeypatch.setattr(connection_module.socket, "socket", none_left)
        try:
            return await client.ask()
        finally:
            monkeypatch.undo()

    exchange = own.run(f"http://127.0.0.1:{unused_port}", main)
    assert (exchange.error, exchange.detail) == ("too_many_open_files", "Too many open files")


@pytest.mark.skipif(not kernelclock.AVAILABLE, reason="the kernel of this system stamps nothing")
def test_kernel_stamps_agree_with_the_clock_and_are_never_late(own: Any, serve: Any, answers: Any) -> None:
    pieces = [b"%x\r\n%b\r\n" % (len(EVENT), EVENT) for _ in range(20)]
    head = answers.chunked().removesuffix(b"0\r\n\r\n")
    server = serve(answers.always(head, *pieces, b"0\r\n\r\n"))
    seen: list[tuple[int, int]] = []
    original = kernelclock.unpack

    def unpack(stamp: bytes) -> tuple[int, int]:
        seconds, nanoseconds = original(stamp)
        seen.append((seconds * 10**9 + nanoseconds - own.wire.kernel_clock.offset_ns, now_ns()))
        return seconds, nanoseconds

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection_module, "unpack", unpack)
        patch.setattr(keeper, "unpack", unpack)
        exchange = own.ask_once(server.url)
    assert exchange.kernel and exchange.error is None
    delays = sorted(read - stamp for stamp, read in seen)
    assert len(delays) >= 15
    assert delays[0] > -100_000  # the two clocks are bracketed to well below this
    assert delays[len(delays) // 2] < 5_000_000


def test_without_kernel_stamps(own: Any, serve: Any, answers: Any) -> None:
    server = serve(answers.always(answers.chunked(EVENT)))
    exchange = own.ask_once(server.url, kernel_stamps=False)
    assert exchange.error is None and exchange.kernel is False
    assert exchange.sent_ns < exchange.end_ns <= now_ns()
