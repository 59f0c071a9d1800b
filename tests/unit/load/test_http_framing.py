"""HTTP/1.1 framing: every shape of an answer, whole and cut at every byte."""

from __future__ import annotations

import gzip
import zlib

import httptools
import pytest

from harness.load.exchange import Exchange, Http1Response

BODY = b"data: one\n\ndata: two\n\n"


def chunked(*pieces: bytes, extension: bytes = b"", trailer: bytes = b"") -> bytes:
    sized = b"".join(b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces)
    return sized + b"0\r\n" + trailer + b"\r\n"


def head(*lines: bytes, status: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join([status, *lines]) + b"\r\n\r\n"


CHUNKED = b"transfer-encoding: chunked"
GZIPPED = gzip.compress(BODY, mtime=0)
ANSWERS = [
    ("chunked", head(CHUNKED) + chunked(b"data: one\n\n", b"data: two\n\n"), True),
    ("chunk extensions", head(CHUNKED) + chunked(BODY, extension=b';name="a;b"'), True),
    ("trailers", head(CHUNKED) + chunked(BODY, trailer=b"x-checksum: 7\r\nx-more: 8\r\n"), True),
    ("header names in any case", head(b"Transfer-Encoding: Chunked") + chunked(BODY), True),
    ("content-length", head(b"content-length: %d" % len(BODY)) + BODY, True),
    ("interim answers", head(status=b"HTTP/1.1 100 Continue") * 2 + head(CHUNKED) + chunked(BODY), True),
    ("until close, HTTP/1.0", head(status=b"HTTP/1.0 200 OK") + BODY, False),
    ("until close, HTTP/1.1", head(b"connection: close") + BODY, False),
    ("gzip", head(CHUNKED, b"content-encoding: gzip") + chunked(GZIPPED[:9], GZIPPED[9:]), True),
    ("deflate", head(CHUNKED, b"content-encoding: deflate") + chunked(zlib.compress(BODY)), True),
    ("identity", head(CHUNKED, b"content-encoding: identity") + chunked(BODY), True),
]
TABLE = pytest.mark.parametrize(("data", "ends"), [row[1:] for row in ANSWERS], ids=[row[0] for row in ANSWERS])


def framed(*parts: bytes) -> Exchange:
    exchange = Exchange("id", "/", b"", lambda _: None)
    exchange.http = Http1Response()
    for number, part in enumerate(parts, 1):
        exchange.parts.append(part)
        exchange.stamps.append(number)
        exchange.frame()
    return exchange


def http_of(exchange: Exchange) -> Http1Response:
    assert exchange.http is not None
    return exchange.http


@TABLE
def test_cut_anywhere(data: bytes, ends: bool) -> None:
    single = [data[place : place + 1] for place in range(len(data))]
    for parts in ([data], single, *([data[:cut], data[cut:]] for cut in range(1, len(data)))):
        exchange = framed(*parts)
        http = http_of(exchange)
        assert b"".join(exchange.bodies) == BODY
        assert (http.status, http.complete, http.until_close) == (200, ends, not ends)
        assert exchange.body_stamps == sorted(exchange.body_stamps)
        assert len(exchange.body_stamps) == len(exchange.bodies)


@TABLE
def test_framing_in_slices_gives_the_same(data: bytes, ends: bool) -> None:
    exchange = Exchange("id", "/", b"", lambda _: None)
    exchange.http = Http1Response()
    exchange.parts = [data[place : place + 3] for place in range(0, len(data), 3)]
    exchange.stamps = list(range(len(exchange.parts)))
    while exchange.cursor < len(exchange.parts):
        exchange.frame(limit=2)
    assert b"".join(exchange.bodies) == BODY
    assert exchange.http.complete is ends


def test_a_piece_has_the_stamp_of_the_read_that_brought_it() -> None:
    first, second = b"6\r\ndata: \r\n", b"4\r\nx\n\n!\r\n0\r\n\r\n"
    exchange = framed(head(CHUNKED), first, second)
    assert list(zip(exchange.bodies, exchange.body_stamps, strict=True)) == [(b"data: ", 2), (b"x\n\n!", 3)]


@pytest.mark.parametrize(
    ("answer", "keeps"),
    [
        (head(b"content-length: 0"), True),
        (head(b"content-length: 0", b"connection: close"), False),
        (head(b"content-length: 0", status=b"HTTP/1.0 200 OK"), False),
        (head(b"content-length: 0", b"connection: keep-alive", status=b"HTTP/1.0 200 OK"), True),
        (head(status=b"HTTP/1.1 204 No Content"), True),
    ],
)
def test_whether_the_connection_may_be_used_again(answer: bytes, keeps: bool) -> None:
    http = http_of(framed(answer))
    assert http.complete and http.keep_alive is keeps and not http.until_close


def test_headers_and_status_of_the_final_answer_count() -> None:
    interim = head(b"link: early", status=b"HTTP/1.1 103 Early Hints")
    final = head(b"Content-Type: Text/HTML", b"content-length: 2", status=b"HTTP/1.1 404 Not Found") + b"no"
    http = http_of(framed(interim + final))
    assert (http.status, http.content_type(), http.length) == (404, b"text/html", 2)
    assert b"link" not in http.headers


@pytest.mark.parametrize(
    "garbage",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x01\x00\x02\x02\x28",
        head(CHUNKED) + b"zz\r\nnot hexadecimal\r\n",
        head(b"content-length: many"),
        head(b"content-length: 2", CHUNKED.replace(b"chunked", b"gzip, identity;")) + b"ok",
    ],
)
def test_garbage_is_an_error(garbage: bytes) -> None:
    with pytest.raises(httptools.HttpParserError):
        framed(garbage)


def test_a_damaged_compressed_body_is_an_error() -> None:
    with pytest.raises(zlib.error):
        framed(head(CHUNKED, b"content-encoding: gzip") + chunked(b"this is not gzip"))


def test_many_reads_leave_no_pile() -> None:
    exchange = framed(head(CHUNKED), *[b"3\r\nabc\r\n"] * 1000)
    assert len(exchange.bodies) == 1000
    assert len(exchange.parts) < 300 and len(exchange.parts) == len(exchange.stamps)


def test_the_first_error_stays() -> None:
    exchange = framed()
    exchange.fail("timeout", "first")
    exchange.fail("connection_reset", "second")
    assert (exchange.error, exchange.detail) == ("timeout", "first")
