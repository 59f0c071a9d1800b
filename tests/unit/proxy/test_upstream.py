"""Where answers end, however they are cut into reads."""

from __future__ import annotations

import pytest

from harness.proxy.exchange import Exchange
from harness.proxy.upstream import Upstream


class Down:
    """The client's side: keeps what it is told."""

    def __init__(self, method: bytes = b"POST") -> None:
        self.current: Exchange | None = Exchange(0.0, method=method, url=b"/v1/chat/completions")
        self.got = b""
        self.told: list[object] = []

    def connected(self) -> None: ...

    def hold(self, full: bool) -> None: ...

    def begun(self) -> None:
        self.told.append("begun")

    def to_client(self, data: bytes) -> None:
        self.got += data

    def answered(self) -> None:
        self.told.append("answered")

    def lost(self, error: Exception | None, *, whole: bool) -> None:
        self.told.append(whole)


STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKS = b"c\r\ndata: {}\r\n\r\n\r\n5\r\n: hi\n\r\n0\r\n\r\n"
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
ANSWERS = {
    "events": STREAM + CHUNKS,
    "trailers": STREAM.replace(b"text/event-stream", b"text/plain") + CHUNKS[:-2] + b"X-Sum: 1\r\n\r\n",
    "length": PLAIN + b"1\r\n\r\n",
    "empty": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "none": b"HTTP/1.1 204 No Content\r\n\r\n",
    "interim": b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + PLAIN + b"hello",
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_ends_once_wherever_it_is_cut(name: str) -> None:
    answer = ANSWERS[name]
    for place in range(len(answer)):
        down = Down()
        up = Upstream(down)
        for part in (answer[:place], answer[place:]):
            if part:
                assert down.told != ["begun", "answered"]
                up.data_received(part)
        assert (down.got, down.told) == (answer, ["begun", "answered"]), place
        assert down.current is not None
        assert b"".join(down.current.answer) == answer[answer.rindex(b"HTTP/1.1") :]
        down.told.clear()
        up.data_received(answer)  # the next one, on the same connection
        assert down.told == ["begun", "answered"]


def test_an_answer_byte_by_byte() -> None:
    down = Down()
    up = Upstream(down)
    for byte in ANSWERS["events"]:
        up.data_received(bytes([byte]))
    assert (down.got, down.told) == (ANSWERS["events"], ["begun", "answered"])


def test_an_answer_to_head_has_no_body() -> None:
    down = Down(b"HEAD")
    Upstream(down).data_received(PLAIN)
    assert down.told == ["begun", "answered"]


@pytest.mark.parametrize("error", [None, ConnectionResetError()])
def test_an_answer_without_a_length_ends_with_its_connection(error: Exception | None) -> None:
    down = Down()
    up = Upstream(down)
    up.data_received(b"HTTP/1.0 200 OK\r\n\r\nsome")
    up.data_received(b"thing")
    assert down.told == ["begun"]
    up.connection_lost(error)
    assert down.told == ["begun", error is None] and down.got.endswith(b"something")


@pytest.mark.parametrize("odd", [b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\nbroken\r\n\r\n", b"HTTP/1.1 200", b"\x00"])
def test_what_is_no_answer_goes_through_as_it_is(odd: bytes) -> None:
    down = Down()
    up = Upstream(down)
    up.data_received(odd)
    up.connection_lost(None)
    assert down.got == odd and down.told[0] == "begun" and "answered" not in down.told


def test_a_chunk_that_is_none_ends_with_the_connection() -> None:
    down = Down()
    up = Upstream(down)
    up.data_received(STREAM + b"zz\r\n\r\n")
    up.data_received(b"more")
    assert down.got.endswith(b"more") and down.told == ["begun"]
