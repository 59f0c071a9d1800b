"""The tokenizer and the words the model says."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.sim.script import WORD_COUNT, WORDS, Part, Script
from harness.sim.tokenizer import GENERATION_OVERHEAD, MESSAGE_OVERHEAD, Message, chat_prompt, pieces, token_id


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", []),
        ("hello", ["hello"]),
        ("hello there", ["hello", " there"]),
        ("extraordinary", ["extraord", "inary"]),
        (" extraordinary", [" extraord", "inary"]),
        ("a  b", ["a", "  ", "b"]),
        ("a\n\nb", ["a", "\n\n", "b"]),
        ("grüße", ["grüße"]),
    ],
)
def test_pieces(text: str, wanted: list[str]) -> None:
    assert pieces(text) == wanted


@given(st.text())
def test_pieces_lose_nothing_and_are_small(text: str) -> None:
    found = pieces(text)
    assert "".join(found) == text
    assert all(1 <= len(piece) <= 9 for piece in found)


@given(st.lists(st.sampled_from(WORDS), min_size=1), st.lists(st.sampled_from(WORDS)))
def test_appended_words_do_not_change_the_tokens_before(words: list[str], more: list[str]) -> None:
    start = " ".join(words)
    assert pieces(start) == pieces(" ".join([*words, *more]))[: len(words)]
    assert len(pieces(start)) == len(words)


def test_a_chat_prompt_has_four_tokens_more_a_message_and_three_at_its_end() -> None:
    messages = [Message(role="system", content="be kind"), Message(role="user", content="hello")]
    assert len(chat_prompt(messages)) == 3 + 2 * MESSAGE_OVERHEAD + GENERATION_OVERHEAD
    assert len(chat_prompt(messages, generation=False)) == 3 + 2 * MESSAGE_OVERHEAD


def test_parts_tools_and_tool_calls_count_as_their_text() -> None:
    raw = b'{"role":"user","content":[{"type":"text","text":"one two"},{"type":"text","text":" three"}]}'
    message = msgspec.json.decode(raw, type=Message)
    assert message.text() == "one two three"
    empty = msgspec.json.decode(b'{"role":"assistant","content":null,"tool_calls":[1, 2]}', type=Message)
    assert len(chat_prompt([empty], generation=False)) == MESSAGE_OVERHEAD + len(pieces("[1, 2]"))
    assert chat_prompt([], b"[{}]") == ["[{}]", "<|im_start|>", "assistant", "\n"]


def test_token_ids_are_the_same_in_every_process() -> None:
    assert token_id("hello") == 907060870 % 131072  # CRC-32 of "hello"
    assert token_id(42) == 42


def test_a_conversation_that_goes_on_keeps_its_prefix() -> None:
    script = Script(99, 5)
    answer = script.text(0, 5)
    first = chat_prompt([Message(role="user", content="hello")])
    said = [script.piece(k) for k in range(5)]
    then = chat_prompt(
        [
            Message(role="user", content="hello"),
            Message(role="assistant", content=answer),
            Message(role="user", content="more"),
        ]
    )
    assert then[: len(first) + 5] == first + said


@given(st.integers(0, 2**32 - 1), st.integers(1, 300))
def test_an_answer_of_n_tokens_is_read_as_n_tokens(seed: int, length: int) -> None:
    assert len(pieces(Script(seed, length).text(0, length))) == length


def test_words_do_not_repeat_and_depend_on_the_seed() -> None:
    assert len(set(WORDS)) == WORD_COUNT
    script = Script(7, WORD_COUNT)
    assert len({script.piece(k).strip() for k in range(WORD_COUNT)}) == WORD_COUNT
    assert script.text(0, 9) == Script(7, 9).text(0, 9) != Script(8, 9).text(0, 9)


def test_reasoning_comes_first_and_runs_are_split_at_its_end() -> None:
    script = Script(1, 10, reasoning=4)
    assert [script.part(k) for k in (0, 3, 4, 9)] == [Part.REASONING, Part.REASONING, Part.CONTENT, Part.CONTENT]
    assert script.split(2, 4) == [(2, 2), (4, 2)]
    assert script.split(0, 4) == [(0, 4)] and script.split(4, 3) == [(4, 3)]
    assert not script.piece(4).startswith(" ")


@pytest.mark.parametrize("length", [1, 2, 3, 4, 20])
def test_a_tool_call_is_one_json_object_whatever_its_length(length: int) -> None:
    script = Script(3, length, tool="look_up", finish="tool_calls")
    assert isinstance(json.loads("".join(script.piece(k) for k in range(length))), dict)
    assert script.part(0) is Part.TOOL
