"""Server-sent events: what each framing means, and that no split of the bytes changes it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.load import sse
from harness.load.sse import EventStream, EventTooLarge

TABLE = [
    ("one event", b"data: a\n\n", [b"a"]),
    ("two events", b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
    ("no space after the colon", b"data:a\n\n", [b"a"]),
    ("only one space is taken", b"data:  a\n\n", [b" a"]),
    ("CRLF", b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
    ("CR", b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
    ("line ends mixed", b"data: a\r\n\ndata: b\n\r\ndata: c\r\n\r", [b"a", b"b", b"c"]),
    ("comment between events", b": ping\n\ndata: a\n\n:\n\n", [b"a"]),
    ("comment inside an event", b"data: a\n: ping\ndata: b\n\n", [b"a\nb"]),
    ("several data lines", b"data: a\ndata: b\ndata:\n\n", [b"a\nb\n"]),
    ("other fields", b"event: delta\nid: 7\nretry: 10\ndata: a\n\n", [b"a"]),
    ("a field that only begins like data", b"database: x\ndata: a\n\n", [b"a"]),
    ("data without a colon is empty data", b"data\n\n", [b""]),
    ("a colon inside", b"data: a: b\n\n", [b"a: b"]),
    ("more blank lines than needed", b"\n\n\ndata: a\n\n\n\ndata: b\n\n", [b"a", b"b"]),
    ("byte order mark", b"\xef\xbb\xbfdata: a\n\ndata: b\n\n", [b"a", b"b"]),
    ("a byte order mark later on is no field", b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [b"a"]),
    ("multi-byte UTF-8", "data: naïve 日本 🎉\n\n".encode(), ["naïve 日本 🎉".encode()]),
    ("nothing", b"", []),
]


def read(*pieces: bytes) -> list[bytes]:
    stream = EventStream()
    return [event for piece in pieces for event in stream.feed(piece)]


@pytest.mark.parametrize(("data", "events"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_framing(data: bytes, events: list[bytes]) -> None:
    assert read(data) == events
    for cut in range(len(data) + 1):
        assert read(data[:cut], data[cut:]) == events, f"cut at byte {cut}"
    assert read(*(data[place : place + 1] for place in range(len(data)))) == events


LINES = st.sampled_from([b"data: x", b"data:y", b"data:", b"data", b": ping", b"event: e", b"", b"", b"data: \xc3\xa9"])
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
STREAMS = st.lists(st.tuples(LINES, ENDS).map(b"".join)).map(b"".join)


@given(STREAMS | st.binary(max_size=60), st.booleans(), st.data())
def test_no_split_changes_the_events(body: bytes, mark: bool, data: st.DataObject) -> None:
    stream = b"\xef\xbb\xbf" * mark + body
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    whole, split = EventStream(), EventStream()
    expected = whole.feed(stream)
    edges = [0, *cuts, len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(edges)]
    assert [event for piece in pieces for event in split.feed(piece)] == expected
    assert split.rest() == whole.rest()


@pytest.mark.parametrize(
    ("data", "rest"),
    [
        (b"data: a\n\ndata: b\n", b"b"),
        (b"data: a\n\ndata: b", b"b"),
        (b"data: a\ndata:b", b"a\nb"),
        (b"data: a\n\n: ping", b""),
        (b"data: a\n\n", b""),
        (b"\xef\xbb\xbfdata: a", b"a"),
    ],
)
def test_data_left_without_a_blank_line(data: bytes, rest: bytes) -> None:
    stream = EventStream()
    stream.feed(data)
    assert stream.rest() == rest
    assert stream.rest() == b""


def test_an_event_ends_in_the_piece_that_brings_its_blank_line() -> None:
    stream = EventStream()
    assert [stream.feed(piece) for piece in (b"data: a\n", b"", b"\ndata: b", b"\n\n")] == [[], [], [b"a"], [b"b"]]


@pytest.mark.parametrize("piece", [b"x" * 1000, b"x\ndata: " * 100])
def test_an_event_may_not_grow_without_end(piece: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 100_000)
    stream = EventStream()
    with pytest.raises(EventTooLarge, match="MiB"):
        read_on(stream, *[b"data: " + piece] * 400)


def test_the_limit_counts_each_byte_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 10_000)
    stream = EventStream()
    big = b"x" * 9_000
    for _ in range(5):  # each event below the limit, however it is cut
        assert read_on(stream, b"data: ", big[:4_000], big[4_000:], b"\n", b"\n") == [big]


def read_on(stream: EventStream, *pieces: bytes) -> list[bytes]:
    return [event for piece in pieces for event in stream.feed(piece)]


def test_comments_alone_never_grow_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 100)
    stream = EventStream()
    for _ in range(100):
        assert read_on(stream, b": pi", b"ng\n") == []
    assert stream.feed(b"data: a\n\n") == [b"a"]
