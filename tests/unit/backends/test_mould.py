"""Many events at once say what each of them says alone, whatever is in them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.backends.mould import Mould
from harness.backends.openai_stream import OpenAIDecoder
from harness.backends.protocol import Output


def event(content: str | None, created: int = 7, spaces: bool = False, **more: Any) -> bytes:
    delta = {"content": content} | more.pop("delta", {})
    chunk = {"id": "a", "created": created, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} | more
    return json.dumps(chunk, separators=None if spaces else (",", ":"), ensure_ascii=spaces).encode()


TEXTS = st.one_of(
    st.sampled_from(["", " the", "\n", '"', "\\", '\\"', '","', '"}}]}', "é", "😀", "\x7f", "?!", "[DONE]"]),
    st.text(max_size=4),
)
EVENTS = st.one_of(
    st.builds(event, TEXTS, st.sampled_from([7, 7, 7, 8])),
    st.builds(event, TEXTS, spaces=st.just(True)),
    st.builds(lambda text: event(text, delta={"reasoning_content": text}), TEXTS),
    st.builds(lambda text: event(text, usage={"completion_tokens": 3}), TEXTS),
    st.builds(lambda text: json.dumps({"choices": [{"index": 0, "text": text}]}).encode(), TEXTS),
    st.builds(lambda text: event("x").replace(b'"x"', b'"%b"' % text), st.binary(max_size=4)),
    st.builds(lambda text: event("x") + b"\n" + event(text), TEXTS),
    st.builds(lambda text: event(text, note={"content": text}), TEXTS),
    st.sampled_from([b'{"choices":[]', b'"x":1}', b"{},{}", b'{"choices":[],"usage":{"completion_tokens":3}}']),
    st.sampled_from([b"[DONE]", b"{}", b"", event(None), event(" the"), event(" end", delta={"role": "assistant"})]),
)


def said(decoder: OpenAIDecoder, outputs: list[Output]) -> Any:
    return outputs, decoder.reply()


@given(st.lists(EVENTS, min_size=1, max_size=12), st.integers(1, 12))
@example([event("a"), event("b"), event('c","d'), event("\\"), event("e"), b"[DONE]"], 12)
def test_many_at_once_say_the_same(data: list[bytes], slice_: int) -> None:
    one, many = OpenAIDecoder(), OpenAIDecoder()
    alone = said(one, [one.event(each) for each in data])
    outputs = [output for at in range(0, len(data), slice_) for output in many.events(data[at : at + slice_])]
    assert said(many, outputs) == alone


@given(st.lists(TEXTS, min_size=1, max_size=9))
def test_the_texts_are_found(texts: list[str]) -> None:
    mould = Mould.of(event("first"))
    assert mould is not None
    assert mould.texts([event(text) for text in texts]) == texts
    assert mould.texts([*map(event, texts), event("other", created=8), event("late")]) == texts
    assert mould.texts([event("other", created=8), *map(event, texts)]) == []


@pytest.mark.parametrize(
    "data",
    [
        b'{"choices":[],"content":"aside"}',
        b'{"note":{"content":"aside"},"choices":[{"index":0,"delta":{"content":"real"}}]}',
        b'{"choices":[{"index":0,"delta":{"content":"said","tool_calls":[{"index":0,"id":"t"}]}}]}',
        b'{"note":{"content":"a"},"choices":[{"index":0,"delta":{"content":"?!"}}]}',
        b'{"choices":[{"index":0,"delta":{"content":"a","content":"?!"}}]}',
        b'{"choices":[{"index":0,"delta":{"content":""}},{"index":1,"delta":{"content":"y"}}]}',
        b'{"choices":[{"index":1,"delta":{},"finish_reason":"stop"},{"index":0,"delta":{"content":"a"}}],"usage":{}}',
    ],
)
def test_what_says_more_than_its_text_has_no_mould(data: bytes) -> None:
    decoder = OpenAIDecoder()
    decoder.events([data, data])
    assert decoder._mould is None
