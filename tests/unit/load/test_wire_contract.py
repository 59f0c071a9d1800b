"""What every wire promises: one end for each request, the whole answer, and the right name for what went wrong."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from itertools import pairwise
from typing import Any

import pytest

from harness.clock import now_ns

EVENTS = [b'data: {"n": %d}\n\n' % number for number in range(5)]
BODY = b"".join(EVENTS)


def test_a_request_arrives_as_it_was_meant(client: Any, serve: Any, answers: Any) -> None:
    server = serve(answers.always(answers.chunked(BODY)))
    body = json.dumps({"prompt": "naïve 日本"}, ensure_ascii=False).encode()

    async def main(client: Any) -> Any:
        return await client.ask(body, "run-s1-turn-1")

    client.run(server.url, main, headers={"Authorization": "Bearer k"})
    head, _, sent = server.requests[0].partition(b"\r\n\r\n")
    lines = {line.lower() for line in head.split(b"\r\n")}
    assert head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert sent == body
    assert lines >= {
        b"x-request-id: run-s1-turn-1",
        b"authorization: bearer k",
        b"content-type: application/json",
        b"host: 127.0.0.1:%d" % server.port,
        b"content-length: %d" % len(body),
    }


def test_a_streamed_answer(client: Any, serve: Any, answers: Any) -> None:
    pieces = [b"%x\r\n%b\r\n" % (len(event), event) for event in EVENTS]
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    server = serve(answers.always(head, *pieces, b"0\r\n\r\n", pause=0.005))
    before = now_ns()
    exchange = client.ask_once(server.url)
    after = now_ns()
    assert (exchange.error, exchange.status) == (None, 200)
    assert client.body(exchange) == BODY
    assert exchange.headers[b"content-type"] == b"text/event-stream"
    stamps = exchange.body_stamps
    assert stamps == sorted(stamps) and len(set(stamps)) > 1
    assert before <= exchange.sent_ns <= exchange.first_byte_ns <= stamps[0] + 1_000_000
    assert stamps[-1] <= exchange.end_ns <= after
    assert exchange.bytes_in >= len(BODY) and exchange.bytes_out >= 2


@pytest.mark.parametrize("named", [True, False])
def test_bytes_are_those_of_heads_and_bodies(client: Any, serve: Any, answers: Any, named: bool) -> None:
    answer = answers.plain(BODY, b"Content-Type: text/event-stream", b"X-Many: a", b"X-Many: bc")
    server = serve(answers.always(answer))
    exchange = client.ask_once(server.url, request_ids=named, headers={"Authorization": "Bearer k"})
    assert exchange.error is None
    assert (exchange.bytes_out, exchange.bytes_in) == (len(server.requests[0]), len(answer))


def test_chunks_have_bytes_of_their_own(own: Any, serve: Any, answers: Any) -> None:
    answer = answers.chunked(*EVENTS)
    assert own.ask_once(serve(answers.always(answer)).url).bytes_in == len(answer)


CLOSED = b"HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + BODY
PACKED = gzip.compress(BODY)
SHAPES = {
    "until close": [CLOSED],
    "until close, in parts": [CLOSED[:30], CLOSED[30:90], CLOSED[90:]],
    "content-length": [b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(BODY), BODY[:20], BODY[20:]],
    "interim": [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY),
    ],
    "gzip": [
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(PACKED),
        PACKED[:30],
        PACKED[30:],
    ],
    "trailers": [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\nx-sum: 1\r\n\r\n" % (len(BODY), BODY)
    ],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_of_answers(client: Any, serve: Any, answers: Any, shape: str) -> None:
    exchange = client.ask_once(serve(answers.once(*SHAPES[shape])).url)
    assert exchange.error is None
    assert client.body(exchange) == BODY


@pytest.mark.parametrize("status", [b"404 Not Found", b"500 Internal Server Error", b"429 Too Many", b"301 Moved"])
def test_http_errors_bring_their_body(client: Any, serve: Any, answers: Any, status: bytes) -> None:
    answer = answers.plain(b'{"error": "why"}', b"location: http://elsewhere/", status=status)
    exchange = client.ask_once(serve(answers.always(answer)).url)
    assert (exchange.error, exchange.status) == (None, int(status[:3]))
    assert client.body(exchange) == b'{"error": "why"}'
    assert exchange.headers[b"location"] == b"http://elsewhere/"


def test_a_connection_is_used_again(client: Any, serve: Any, answers: Any) -> None:
    server = serve(answers.always(answers.chunked(BODY)))

    async def main(client: Any) -> list[Any]:
        return [await client.ask() for _ in range(5)]

    asked = client.run(server.url, main)
    assert server.connections == 1
    assert [client.body(exchange) for exchange in asked] == [BODY] * 5


def test_a_server_that_closes_after_each_answer_without_saying_so(client: Any, serve: Any, answers: Any) -> None:
    server = serve(answers.once(answers.chunked(BODY)))

    async def main(client: Any) -> list[Any]:
        asked = []
        for _ in range(5):
            asked.append(await client.ask())
            await asyncio.sleep(0.01)
        return asked

    asked = client.run(server.url, main)
    assert [exchange.error for exchange in asked] == [None] * 5
    assert server.connections == 5


def test_many_at_once_each_on_a_connection_of_its_own(client: Any, serve: Any, answers: Any) -> None:
    server = serve(answers.always(answers.chunked(BODY[:20]), pause=0.01))

    async def main(client: Any) -> list[Any]:
        return list(await asyncio.gather(*(client.ask(request_id=f"id-{n}") for n in range(30))))

    asked = client.run(server.url, main)
    assert [exchange.error for exchange in asked] == [None] * 30
    assert server.connections == 30
    assert len({exchange.id for exchange in asked}) == 30


def test_nothing_listens(client: Any, unused_port: int) -> None:
    exchange = client.ask_once(f"http://127.0.0.1:{unused_port}/v1")
    assert exchange.error == "connection_refused"
    assert exchange.status is None and exchange.first_byte_ns is None


HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"", "connection_closed"),
        (HEAD + b"5\r\nhello\r\n", "truncated_stream"),
        (HEAD + b"5\r\nhe", "truncated_stream"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this", "truncated_stream"),
    ],
)
def test_closed_too_early(client: Any, serve: Any, answers: Any, sent: bytes, error: str) -> None:
    exchange = client.ask_once(serve(answers.once(sent)).url)
    assert exchange.error == error
    assert exchange.detail


def test_closed_within_the_head(client: Any, serve: Any, answers: Any) -> None:
    exchange = client.ask_once(serve(answers.once(HEAD[:20])).url)
    assert exchange.error in ("truncated_stream", "connection_closed")  # httpx does not tell them apart
    assert exchange.status is None


def test_what_came_before_a_break_is_kept(client: Any, serve: Any, answers: Any) -> None:
    exchange = client.ask_once(serve(answers.once(HEAD, b"5\r\nhello\r\n", b"9\r\n wor", pause=0.01)).url)
    assert exchange.error == "truncated_stream"
    assert client.body(exchange) in (b"hello", b"hello wor")


def test_reset_in_the_middle(client: Any, serve: Any) -> None:
    def script(peer: Any) -> None:
        peer.request()
        peer.send(HEAD, b"5\r\nhello\r\n", b"", pause=0.02)
        peer.reset()

    exchange = client.ask_once(serve(script).url)
    assert exchange.error == "connection_reset"
    assert exchange.status == 200


@pytest.mark.parametrize("junk", [b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n", b"\x00\x01\x02\x03\r\n\r\n"])
def test_not_http(client: Any, serve: Any, answers: Any, junk: bytes) -> None:
    assert client.ask_once(serve(answers.once(junk)).url).error == "bad_http"


def test_broken_chunks(client: Any, serve: Any, answers: Any) -> None:
    assert client.ask_once(serve(answers.always(HEAD + b"zz\r\nno\r\n\r\n")).url).error == "bad_http"


def test_a_damaged_compressed_body(client: Any, serve: Any, answers: Any) -> None:
    answer = answers.plain(b"this is not gzip", b"content-encoding: gzip")
    assert client.ask_once(serve(answers.always(answer)).url).error == "bad_http"


def test_abort(client: Any, serve: Any) -> None:
    closed: list[bool] = []

    def script(peer: Any) -> None:
        peer.request()
        peer.send(HEAD + b"5\r\nhello\r\n")
        peer.wait()
        closed.append(True)

    server = serve(script)

    async def main(client: Any) -> Any:
        exchange, ended = client.begin()
        await asyncio.sleep(0.05)
        client.wire.abort(exchange, "timeout", "too slow")
        client.wire.abort(exchange, "interrupted")  # has ended already
        assert ended.done()
        await asyncio.sleep(0.05)
        return exchange

    exchange = client.run(server.url, main)
    assert (exchange.error, exchange.detail, exchange.status) == ("timeout", "too slow", 200)
    assert exchange.end_ns >= exchange.sent_ns
    assert closed == [True]


def test_abort_before_the_connection_stands(client: Any, serve: Any, answers: Any) -> None:
    server = serve(answers.always(answers.chunked(BODY)))

    async def main(client: Any) -> Any:
        exchange, ended = client.begin()
        client.wire.abort(exchange, "interrupted")
        assert ended.done()
        await asyncio.sleep(0.02)
        return exchange, await client.ask()

    aborted, later = client.run(server.url, main)
    assert aborted.error == "interrupted"
    assert later.error is None


def test_large_bodies_both_ways(client: Any, serve: Any, answers: Any) -> None:
    big = b"0123456789abcdef" * (1 << 18)  # 4 MiB: beyond any socket buffer
    server = serve(answers.always(answers.plain(big)), pause=0.05)

    async def main(client: Any) -> Any:
        return [await client.ask(big) for _ in range(2)]

    for exchange in client.run(server.url, main):
        assert exchange.error is None
        assert client.body(exchange) == big
        assert exchange.bytes_out >= len(big) and exchange.bytes_in >= len(big)
    assert all(request.endswith(big) for request in server.requests)


def test_reset_while_the_request_is_still_being_sent(client: Any, serve: Any) -> None:
    def script(peer: Any) -> None:
        time.sleep(0.05)
        peer.reset()

    server = serve(script)

    async def main(client: Any) -> Any:
        return await client.ask(b"x" * (16 << 20))

    exchange = client.run(server.url, main)
    assert exchange.error == "connection_reset"
    assert exchange.status is None


def test_an_answer_before_the_request_is_whole(client: Any, serve: Any, answers: Any) -> None:
    def script(peer: Any) -> None:
        peer.send(answers.plain(b"too large", b"connection: close", status=b"413 Content Too Large"))
        peer.wait()

    server = serve(script)

    async def main(client: Any) -> Any:
        return await client.ask(b"x" * (8 << 20))

    exchange = client.run(server.url, main)
    assert (exchange.status, exchange.error) == (413, None)


def test_a_body_that_looks_like_the_end_of_http(client: Any, serve: Any, answers: Any) -> None:
    traps = [b"\r\n\r\n", b"0\r\n\r\n", b"x\r\n", b"\r\n", b"0", b"\r\n\r\n"]
    server = serve(answers.always(*_split(answers.chunked(*traps), traps), pause=0.003))
    exchange = client.ask_once(server.url)
    assert exchange.error is None
    assert client.body(exchange) == b"".join(traps)


def _split(answer: bytes, marks: list[bytes]) -> list[bytes]:
    """The answer cut after each place where a mark ends."""
    places = sorted({answer.find(mark, start) + len(mark) for mark in marks for start in range(len(answer))})
    edges = [0, *(place for place in places if 60 < place < len(answer)), len(answer)]
    return [answer[a:b] for a, b in pairwise(edges)]
