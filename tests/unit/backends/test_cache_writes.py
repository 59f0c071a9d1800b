"""Tokens written to a provider's cache are told apart, since they are billed apart."""

from __future__ import annotations

import json

import pytest

from harness.backends.anthropic import AnthropicDecoder
from harness.backends.openai_stream import OpenAIDecoder
from harness.backends.protocol import Decoder
from harness.load.ledger import _count_tokens
from harness.records.record import Record

OPENAI = {
    "choices": [{"message": {"content": "Sky"}, "finish_reason": "stop"}],
    "usage": {
        "prompt_tokens": 100,
        "completion_tokens": 1,
        "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30},
    },
}
ANTHROPIC = {
    "content": [{"type": "text", "text": "Sky"}],
    "stop_reason": "end_turn",
    "usage": {
        "input_tokens": 10,
        "cache_read_input_tokens": 60,
        "cache_creation_input_tokens": 30,
        "output_tokens": 1,
    },
}


@pytest.mark.parametrize(("decoder", "body"), [(OpenAIDecoder, OPENAI), (AnthropicDecoder, ANTHROPIC)])
def test_from_the_answer_into_the_record(decoder: type[Decoder], body: object) -> None:
    reader, record = decoder(), Record(id="a", session="s", node="n")
    reader.body(json.dumps(body).encode())
    _count_tokens(record, reader.reply(), None)
    assert (record.input_tokens, record.cached_tokens, record.cache_write_tokens) == (100, 60, 30)
