"""What of a head goes on to the next hop."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.proxy.heads import Head, passed_on

HOP = [
    (b"Keep-Alive", b"5"),
    (b"TE", b"trailers"),
    (b"Trailer", b"X-Sum"),
    (b"Upgrade", b"h2c"),
    (b"Proxy-Connection", b"keep-alive"),
    (b"proxy-authorization", b"Basic eA=="),
    (b"Proxy-Authenticate", b"Basic"),
]
names = st.text(string.ascii_letters + "-", min_size=1, max_size=12).map(lambda text: f"X{text}".encode())


@given(st.lists(st.tuples(names, st.binary(max_size=8)), max_size=8), st.permutations(HOP))
def test_all_else_stays_in_order_and_spelling(
    fields: list[tuple[bytes, bytes]], hop: list[tuple[bytes, bytes]]
) -> None:
    mixed = [each for pair in zip(fields, hop, strict=False) for each in pair] + fields[len(hop) :]
    assert passed_on(mixed) == fields


@given(names, names)
def test_what_connection_names_goes_with_it(named: bytes, other: bytes) -> None:
    fields = [(b"Connection", b"close, " + named.upper()), (named, b"1"), (other, b"2"), (b"Content-Length", b"3")]
    kept = [] if named.lower() == other.lower() else [(other, b"2")]
    assert passed_on(fields) == [*kept, (b"Content-Length", b"3"), (b"Connection", b"close")]


def test_the_framing_cannot_be_named_away() -> None:
    fields = [(b"Connection", b"content-length, transfer-encoding"), (b"Content-Length", b"3")]
    assert passed_on(fields) == [(b"Content-Length", b"3")]
    assert passed_on([(b"transfer-encoding", b"chunked")]) == [(b"transfer-encoding", b"chunked")]


def test_the_head_of_an_answer() -> None:
    head = Head(b"HTTP/1.1 200 Fine  thanks\r\nX-A:  b \r\nConnection: close\r\nServer: s\r\n\r\n")
    assert (head.status, head.values(b"x-a"), head.values(b"none")) == (200, b"b", b"")
    assert head.encoded() == b"HTTP/1.1 200 Fine  thanks\r\nX-A: b\r\nServer: s\r\nConnection: close\r\n\r\n"
    assert Head(b"HTTP/1.1 204\r\n\r\n").encoded() == b"HTTP/1.1 204\r\n\r\n"


@pytest.mark.parametrize(
    "raw", [b"\r\n\r\n", b"HTTP/1.1\r\n\r\n", b"HTTP/1.1 two\r\n\r\n", b"HTTP/1.1 200 OK\r\nno\r\n\r\n"]
)
def test_what_is_no_head(raw: bytes) -> None:
    with pytest.raises(ValueError, match="is no"):
        Head(raw)
