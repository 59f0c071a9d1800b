"""Counting tokens with a tokenizer of the user's, where the server gives no usage."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from harness.backends.protocol import Reply, Usage
from harness.errors import ConfigError, MissingExtra
from harness.load.ledger import _count_tokens
from harness.load.tokenizer import counter
from harness.records.record import Record


def test_none_is_configured() -> None:
    assert counter(None) is None


def test_the_extra_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingExtra, match="tokenizers"):
        counter("tokenizer.json")


def test_counts_and_bad_files(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    words = {"[UNK]": 0, "one": 1, "two": 2}
    model = {"type": "WordLevel", "vocab": words, "unk_token": "[UNK]"}
    data = {"version": "1.0", "added_tokens": [], "model": model, "pre_tokenizer": {"type": "Whitespace"}}
    data |= {"truncation": None, "padding": None, "normalizer": None, "post_processor": None, "decoder": None}
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(data))
    count = counter(str(path))
    assert count is not None
    assert [count(text) for text in ("", "one", "one two three")] == [0, 1, 3]
    path.write_text("{")
    with pytest.raises(ConfigError, match="tokenizer"):
        counter(str(path))


def test_a_tokenizer_counts_the_output_and_leaves_the_input_unknown() -> None:
    record = Record(id="r", session="s", node="n", chunks=7, planned_input=50)
    _count_tokens(record, Reply(text="a b c"), lambda text: len(text.split()))
    assert (record.input_tokens, record.output_tokens, record.tokens_source) == (None, 3, "tokenizer")
    _count_tokens(record, Reply(text="a b c"), None)
    assert (record.input_tokens, record.output_tokens, record.tokens_source) == (50, 7, "estimate")
    _count_tokens(record, Reply(text="a b c", usage=Usage(input=9, output=4)), len)
    assert (record.input_tokens, record.output_tokens, record.tokens_source) == (9, 4, "server")
