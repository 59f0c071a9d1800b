"""The short cut for plain events reads what the parsers read, however the bytes are cut."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.backends.openai import OpenAI
from harness.backends.protocol import Target
from harness.load import exchange as exchange_module
from harness.load.exchange import Exchange, Http1Response
from harness.load.reading import Reading
from harness.load.runs import plain_events

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(content: bytes, size: bytes = b"%x") -> bytes:
    return size % len(content) + b"\r\n" + content + b"\r\n"


def event(delta: bytes, rest: bytes = b"") -> bytes:
    return b'data: {"choices":[{"index":0,"delta":{%b},"finish_reason":null}]%b}\n\n' % (delta, rest)


WORD = event(b'"content":" word"')
PLAIN = [
    WORD,
    event(b'"role":"assistant","content":""'),
    event(b'"content":"\\u00e9\\r\\n\\n"'),
    event(b'"reasoning_content":"hm"'),
    event(b'"tool_calls":[{"index":0,"function":{"name":"f","arguments":"{}"}}]'),
    event(b'"content":"x"', b',"usage":{"prompt_tokens":3,"completion_tokens":4}'),
    event(b'"content":"' + b"long " * 300 + b'"'),
]
ODD = [
    b": ping\n\n",
    WORD + WORD,
    b"event: x\n" + WORD,
    WORD.replace(b"data: ", b"data:"),
    WORD.replace(b"\n", b"\r\n"),
    b"data: two\ndata: lines\n\n",
    b"data: [DONE]\n\n",
    b"data: no JSON\n\n",
    b"data: 1},{2\n\n",
    event(b'"content":"' + b"huge " * 1000 + b'"'),
]
SIZES = [b"%x", b"%X", b"0%x", b"%x;name=value"]


def read(parts: list[bytes], *, slices: int) -> tuple[Any, ...]:
    exchange = Exchange("id", "/", b"", lambda _: None)
    exchange.http = Http1Response()
    exchange.parts, exchange.stamps = list(parts), [10 * number for number in range(1, len(parts) + 1)]
    exchange.frame_head()
    dialect = OpenAI(OpenAI.Params()).dialect(Target(backend="openai", url="", model="m"))
    reading = Reading(exchange, dialect)
    while reading.advance(slices):
        pass
    exchange.status, exchange.end_ns = 200, 10 * len(parts)
    reply = reading.finish()
    return reply, list(reading.stamps_ns), reading.coalesced, reading.first_output_ns, exchange.error, exchange.detail


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted({place % len(stream) for place in places} - {0}), len(stream)]
    return [stream[begin:end] for begin, end in pairwise(edges)]


chunks = st.one_of(
    st.builds(chunk, st.sampled_from(PLAIN)),
    st.just(chunk(WORD)),
    st.builds(chunk, st.sampled_from(PLAIN + ODD), st.sampled_from(SIZES)),
)


@given(
    st.lists(chunks, min_size=1, max_size=40),
    st.lists(st.integers(0, 100_000), max_size=60),
    st.booleans(),
    st.sampled_from([1, 5, 96]),
)
def test_the_short_cut_changes_nothing(stream: list[bytes], places: list[int], whole: bool, slices: int) -> None:
    stream = [*stream, chunk(b"data: [DONE]\n\n")]
    parts = (
        [HEAD + stream[0], *stream[1:], b"0\r\n\r\n"] if whole else cut(HEAD + b"".join(stream) + b"0\r\n\r\n", places)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exchange_module, "_WORTH_BYTES", 1 << 30)
        parsed = read(parts, slices=slices)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exchange_module, "_WORTH_BYTES", 0)
        assert read(parts, slices=slices) == parsed


def test_one_event_a_read() -> None:
    reads = [chunk(WORD)] * 3
    run = plain_events(reads)
    assert run is not None
    assert (run.data, list(run.ended_by), run.used, run.left) == ([WORD[6:-2]] * 3, [0, 1, 2], 3, b"")


def test_reads_with_several_events_and_parts_of_one() -> None:
    whole = chunk(WORD)
    run = plain_events(
        [whole + whole + whole[:-1], whole[-1:], whole[:20], whole[20:-3], whole[-3:] + whole[:5], whole[5:9]]
    )
    assert run is not None
    assert list(run.ended_by) == [0, 0, 0, 4]
    assert (run.used, run.left) == (4, whole[:5])


@pytest.mark.parametrize(
    "reads",
    [
        [chunk(WORD)[:-2]],
        [chunk(WORD + WORD)],
        [chunk(WORD), chunk(b": ping\n\n"), chunk(WORD)],
        [chunk(WORD, b"0%x")],
        [b"9" + chunk(WORD)],
        [chunk(WORD.replace(b"}", b"}\r", 1))],
    ],
    ids=["cut", "two in a chunk", "something between", "zero in front", "wrong size", "a bare CR"],
)
def test_anything_else_is_left_to_the_parsers(reads: list[bytes]) -> None:
    assert plain_events(reads) is None
