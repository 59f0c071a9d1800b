"""TLS: the same promises over an encrypted connection, and one name for all that can go wrong with it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ConfigError
from harness.load.tls import TlsConnection

EVENT = b'data: {"n": 1}\n\n'


def test_an_answer_over_tls(client: Any, serve: Any, answers: Any, certificate: Any) -> None:
    pieces = [b"%x\r\n%b\r\n" % (len(EVENT), EVENT) for _ in range(4)]
    head = answers.chunked().removesuffix(b"0\r\n\r\n")
    server = serve(answers.always(head, *pieces, b"0\r\n", b"\r\n"), context=certificate.context())

    async def main(client: Any) -> list[Any]:
        return [await client.ask() for _ in range(3)]

    asked = client.run(server.url, main, verify=str(certificate.path))
    assert [exchange.error for exchange in asked] == [None] * 3
    assert [client.body(exchange) for exchange in asked] == [EVENT * 4] * 3
    assert len(set(asked[1].body_stamps)) > 1
    assert server.connections == 1


def test_bytes_are_counted_as_they_are_on_the_wire(own: Any, serve: Any, answers: Any, certificate: Any) -> None:
    answer = answers.chunked(EVENT * 100)
    server = serve(answers.always(answer), context=certificate.context())

    async def main(client: Any) -> Any:
        await client.ask()
        return await client.ask()

    exchange = own.run(server.url, main, verify=False, warm=1)
    assert len(answer) < exchange.bytes_in < len(answer) + 500
    assert len(exchange.payload) < exchange.bytes_out < len(exchange.payload) + 500
    assert exchange.connect_ns is None


def test_large_bodies_both_ways_over_tls(client: Any, serve: Any, answers: Any, certificate: Any) -> None:
    big = b"0123456789abcdef" * (1 << 16)
    server = serve(answers.always(answers.plain(big)), context=certificate.context())

    async def main(client: Any) -> Any:
        return await client.ask(big)

    exchange = client.run(server.url, main, verify=False)
    assert exchange.error is None
    assert client.body(exchange) == big
    assert server.requests[0].endswith(big)


def test_a_certificate_nobody_vouches_for(client: Any, serve: Any, answers: Any, certificate: Any) -> None:
    server = serve(answers.always(answers.chunked(EVENT)), context=certificate.context())
    exchange = client.ask_once(server.url)
    assert exchange.error == "tls_failed"
    assert "self" in exchange.detail and "signed" in exchange.detail
    assert server.requests == []


def test_a_certificate_for_another_host(client: Any, serve: Any, answers: Any, certificate: Any) -> None:
    server = serve(answers.always(answers.chunked(EVENT)), context=certificate.context())
    exchange = client.ask_once(server.url.replace("127.0.0.1", "localhost"), verify=str(certificate.path))
    assert exchange.error == "tls_failed"


def test_tls_spoken_to_a_plain_server(client: Any, serve: Any) -> None:
    def script(peer: Any) -> None:
        peer.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        peer.wait()

    exchange = client.ask_once(serve(script).url.replace("http:", "https:"))
    assert exchange.error == "tls_failed"


def test_closed_during_the_handshake(own: Any, serve: Any) -> None:
    exchange = own.ask_once(serve(lambda peer: peer.send(b"")).url.replace("http:", "https:"))
    assert exchange.error in ("tls_failed", "connection_reset")


def test_nothing_listens_for_tls(client: Any, unused_port: int) -> None:
    assert client.ask_once(f"https://127.0.0.1:{unused_port}/v1").error == "connection_refused"


@pytest.mark.parametrize("complete", [True, False])
def test_an_answer_that_ends_with_the_connection(
    client: Any, serve: Any, answers: Any, certificate: Any, complete: bool
) -> None:
    whole = b"HTTP/1.0 200 OK\r\n\r\n" + EVENT
    broken = answers.chunked(EVENT)[:-6]
    server = serve(answers.once(whole if complete else broken), context=certificate.context())
    exchange = client.ask_once(server.url, verify=False)
    assert exchange.error == (None if complete else "truncated_stream")
    assert client.body(exchange) == EVENT


def test_an_orderly_end_of_tls_ends_the_answer(own: Any, serve: Any, certificate: Any) -> None:
    def script(peer: Any) -> None:
        peer.request()
        peer.send(b"HTTP/1.0 200 OK\r\n\r\n" + EVENT)
        peer._socket.unwrap()

    exchange = own.ask_once(serve(script, context=certificate.context()).url, verify=False)
    assert exchange.error is None
    assert own.body(exchange) == EVENT


def test_damaged_records(own: Any, serve: Any, answers: Any, certificate: Any) -> None:
    server = serve(answers.always(answers.chunked(EVENT)), context=certificate.context())

    async def main(client: Any) -> Any:
        await client.ask()
        await asyncio.sleep(0.02)
        connection: TlsConnection = client.wire.idle[-1]
        exchange, ended = client.begin()
        connection.received(b"\x17\x03\x03\x00\x20" + b"x" * 32, exchange.sent_ns)
        await ended
        return exchange

    assert own.run(server.url, main, verify=False).error == "tls_failed"


def test_a_stale_connection_over_tls(own: Any, serve: Any, answers: Any, certificate: Any) -> None:
    server = serve(
        answers.once(answers.chunked(EVENT)), answers.always(answers.chunked(EVENT)), context=certificate.context()
    )

    async def main(client: Any) -> Any:
        await client.ask()
        await asyncio.sleep(0.03)
        return len(client.wire.idle), await client.ask()

    idle, exchange = own.run(server.url, main, verify=False)
    assert (idle, exchange.error) == (0, None)


@pytest.mark.parametrize("text", [None, "no certificate"])
def test_a_bundle_that_cannot_be_read(client: Any, tmp_path: Path, text: str | None) -> None:
    bundle = tmp_path / "bundle.pem"
    if text is not None:
        bundle.write_text(text)
    with pytest.raises(ConfigError, match=r"backend\.verify: cannot read .*bundle\.pem"):
        client.ask_once("https://127.0.0.1:1/v1", verify=str(bundle))
