"""Sessions, dependencies and gaps out of what was said."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.proxy.blocks import BLOCK_TOKENS, Blocks

LONG = "an answer long enough to be known again"


def test_a_conversation_is_one_session_however_long_the_pauses(tape: Any) -> None:
    talk = ["user begin"]
    for turn in range(3):
        tape.say(turn * 100, turn * 100 + 4, list(talk), f"answer {turn}")
        talk += [f"answer {turn}", f"user turn {turn}"]
    assert tape.graph() == {"r1": (set(), None), "r2": (set(), "r1"), "r3": (set(), "r2")}
    assert [call.node.gap_ms for call in tape.placed] == [0, 96_000, 96_000]
    assert [call.start_ms for call in tape.placed] == [0, 100_000, 200_000]


def test_conversations_that_share_nothing_are_sessions_of_their_own(tape: Any) -> None:
    first, second = tape.say(0, 1, ["user one"], "a"), tape.say(2, 3, ["user two"], "b")
    assert first.session != second.session


def test_a_session_header_decides_whatever_is_said(tape: Any) -> None:
    calls = [
        tape.say(0, 1, ["user one"], "a", header="mine"),
        tape.say(2, 3, ["user one", "a", "user more"], "b", header="yours"),
        tape.say(4, 5, ["user else"], "c", header="mine"),
        tape.say(6, 7, ["user one", "a", "user more"], "d"),
    ]
    mine, yours, again, none = (call.session for call in calls)
    assert mine == again and len({mine, yours, none}) == 2  # without a header it continues what it continues
    assert calls[1].node.history is None
    assert "mine" not in mine


def test_a_fan_out_and_its_join(tape: Any) -> None:
    tape.say(0, 1, ["user plan"], f"{LONG} 0")
    for number in range(3):
        tape.say(1.5, 4 + number, [f"user search {number} for {LONG} 0"], f"{LONG} found {number}")
    tape.say(8, 9, ["user plan", f"{LONG} 0", "user " + " and ".join(f"{LONG} found {n}" for n in range(3))], "done")
    assert tape.graph() == {
        "r1": (set(), None),
        "r2": ({"r1"}, None),
        "r3": ({"r1"}, None),
        "r4": ({"r1"}, None),
        "r5": ({"r2", "r3", "r4"}, "r1"),
    }
    assert [call.node.gap_ms for call in tape.placed] == [0, 500, 500, 500, 2000]
    assert [call.node.depth for call in tape.placed] == [0, 1, 1, 1, 0]
    assert [call.node.agent for call in tape.placed] == ["main", "agent-2", "agent-3", "agent-4", "main"]


def test_a_join_waits_only_for_what_no_other_of_its_branches_has_waited_for(tape: Any) -> None:
    tape.say(0, 1, ["user a"], f"{LONG} A")
    tape.say(2, 3, [f"user b {LONG} A"], f"{LONG} B")
    tape.say(4, 5, [f"user c {LONG} A {LONG} B"], "C")
    assert tape.graph()["r3"] == ({"r2"}, None)


def test_two_calls_that_continue_the_same_one_are_a_fork(tape: Any) -> None:
    tape.say(0, 1, ["user a"], "b")
    tape.say(2, 3, ["user a", "b", "user left"], "l")
    tape.say(2, 3, ["user a", "b", "user right"], "r")
    assert tape.graph() == {"r1": (set(), None), "r2": (set(), "r1"), "r3": (set(), "r1")}


def test_a_call_cannot_continue_an_answer_that_had_not_come(tape: Any) -> None:
    tape.say(0, 5, ["user a"], "b")
    other = tape.say(4, 6, ["user a", "b", "user c"], "d")
    assert other.node.history is None and other.session != tape.placed[0].session


@pytest.mark.parametrize("waiting", [1, 2])
def test_a_call_out_of_nowhere_is_the_child_of_the_only_session_that_waits_for_tools(tape: Any, waiting: int) -> None:
    for number in range(waiting):
        tape.say(0, 1, [f"user {number}"], "calls a tool", waits_for_tools=True)
    child = tape.say(3, 4, ["user child"], "x")
    assert (child.session == tape.placed[0].session) == (waiting == 1)
    assert child.node.depth == (1 if waiting == 1 else 0)


def test_what_a_prompt_adds_leaves_out_reasoning_that_is_told(tape: Any) -> None:
    tape.say(0, 1, ["user a"], "b", output_tokens=50, kept_tokens=10)
    told = tape.say(2, 3, ["user a", "b", "user c"], "d", input_tokens=130)
    assert (told.node.input_tokens, told.node.new_tokens) == (130, 20)


def test_what_a_prompt_adds_is_estimated_where_reasoning_was_dropped_untold(tape: Any) -> None:
    tape.say(0, 1, ["x" * 400], "b", output_tokens=500)
    told = tape.say(2, 3, ["x" * 400, "b", "y" * 80], "d", input_tokens=130)
    assert told.node.new_tokens == 20  # at 4 bytes a token, as in the first prompt


def test_lengths_that_nobody_told_are_estimated(tape: Any) -> None:
    node = tape.say(0, 1, ["x" * 40, "y" * 40], "z" * 20, input_tokens=None, output_tokens=None, tools="t" * 80).node
    assert (node.input_tokens, node.output_tokens) == (40, 5)


def test_sessions_that_are_over_are_forgotten(tape: Any) -> None:
    early, late = tape.say(0, 1, ["user a"], "b").session, tape.say(5, 6, ["user c"], "d").session
    assert tape.grouping.over(1) == []
    assert tape.grouping.over(2) == [early]
    assert tape.say(8, 9, ["user a", "b", "user e"], "f").node.history is None
    assert tape.grouping.over(float("inf"))[0] == late


words = st.text(st.characters(codec="utf-8"), max_size=30)


@given(st.lists(st.tuples(words, words, st.integers(0, 999), st.integers(0, 999)), min_size=1, max_size=8))
def test_any_conversation_is_a_chain(turns: list[tuple[str, str, int, int]]) -> None:
    from tests.unit.proxy.conftest import Tape

    tape, talk, now = Tape(), [], 0
    for asked, answer, gap, took in turns:
        talk.append(asked)
        tape.say(now + gap, now + gap + took, list(talk), answer)
        talk.append(answer)
        now += gap + took
    names = [f"r{number}" for number in range(1, len(turns) + 1)]
    assert len({call.session for call in tape.placed}) == 1
    assert [call.node.history for call in tape.placed] == [None, *names[:-1]]
    for call, (_, _, gap, _) in list(zip(tape.placed, turns, strict=True))[1:]:
        assert call.node.gap_ms == gap * 1000


# -- blocks


def test_prompts_that_begin_alike_share_the_hashes_of_what_is_alike(tape: Any) -> None:
    system = "You are an agent. " * 200
    one = tape.say(0, 1, [system, "user one"], "a", input_tokens=900, tools="[tools]").node.blocks
    two = tape.say(2, 3, [system, "user two and more"], "b", input_tokens=950, tools="[tools]").node.blocks
    other = tape.say(4, 5, [system, "user one"], "c", input_tokens=900, tools="[others]").node.blocks
    assert len(one) == -(-900 // BLOCK_TOKENS)
    assert one[:13] == two[:13] and one[-1] != two[len(one) - 1]
    assert not set(one) & set(other)


def test_hashes_of_two_recordings_cannot_be_compared(new_tape: Any) -> None:
    said = [
        new_tape(salt).say(0, 1, ["user the same " * 50], "a", input_tokens=200).node.blocks for salt in (b"a", b"b")
    ]
    assert len(said[0]) == 4 and not set(said[0]) & set(said[1])


@given(st.binary(min_size=1, max_size=2000), st.integers(1, 2000), st.integers(0, 2000))
def test_blocks_are_no_more_than_the_tokens_and_a_longer_prompt_begins_alike(
    text: bytes, tokens: int, more: int
) -> None:
    blocks = Blocks(b"salt")
    cut = blocks.cut(text, tokens)
    found = blocks.hashes(text, b"", tokens, cut)
    assert len(found) <= -(-tokens // BLOCK_TOKENS) or len(found) == 1
    longer = text + b"x" * more
    again = blocks.hashes(longer, b"", tokens + more, blocks.cut(longer, tokens + more) if len(text) >= 64 else cut)
    whole = min(len(found), len(text) // cut)
    assert found[:whole] == again[:whole]
