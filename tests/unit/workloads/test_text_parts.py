"""Parts of a message: equal keys give equal bytes wherever they stand."""

from __future__ import annotations

from typing import Any

import pytest

from harness.load.walk import Walk
from harness.workloads.session import Node, Session, Text
from harness.workloads.text import WORDS, TextCalibration, TextMaker

MAKER = TextMaker(TextCalibration(a=3.0, b=1.25, m=4.0), "run")


def block(key: str, tokens: int = 64) -> Text:
    return Text("user", key, tokens, shared=True, part=True)


def messages(*nodes: Node, index: int = 0, session: int = 0) -> list[dict[str, Any]]:
    walk = Walk(Session(index=session, kind="x", nodes=nodes), warmup=False)
    for place in range(index):
        walk.messages(place, MAKER)
        walk.finished(place, place + 1, {"role": "assistant", "content": f"answer {place}"})
    return walk.messages(index, MAKER)


def test_parts_are_one_message_without_overhead_and_equal_in_every_session() -> None:
    [one] = messages(Node(name="a", texts=(block("1"), block("2"), block("3", 10))))
    [two] = messages(Node(name="a", texts=(block("1"), block("2"), block("4"))), session=5)
    first = MAKER.text(block("1"), 0)
    assert len(first.split()) == round(64 / 1.25) and one["content"].startswith(first + " ")
    shared = f"{first} {MAKER.text(block('2'), 9)} "
    assert one["content"].startswith(shared) and two["content"].startswith(shared)
    assert one["content"] != two["content"]


@pytest.mark.parametrize("tokens", [1, 2, 4, 64])
def test_short_parts_differ_all_the_same(tokens: int) -> None:
    found = {MAKER.text(block(str(key), tokens), 0) for key in range(20)}
    assert len(found) > min(20, 200**tokens) * 0.8


def test_a_part_differs_from_run_to_run_unless_there_is_no_nonce() -> None:
    other, none, same = (TextMaker(MAKER.calibration, nonce) for nonce in ("other", "", ""))
    assert other.text(block("1"), 0) != MAKER.text(block("1"), 0)
    assert none.text(block("1"), 0) == same.text(block("1"), 3)


def test_a_part_goes_on_in_the_next_text() -> None:
    said = messages(Node(name="a", texts=(Text("system", "s", 20), block("1"), Text("user", "q", 30))))
    assert [message["role"] for message in said] == ["system", "user"]
    assert said[0]["content"] == MAKER.text(Text("system", "s", 20), 0, less=3)
    drift = MAKER.surplus(block("1"))
    assert abs(drift) < 1.25 / 2
    assert said[1]["content"] == f"{MAKER.text(block('1'), 0)} {MAKER.text(Text('user', 'q', 30), 0, less=drift)}"


@pytest.mark.parametrize("known", ["", "1" * 100 + "2" * 100 + "4" * 56])
@pytest.mark.parametrize("tokens", [(64, 64, 10), (64, 64), (3,), (64, 2)])
def test_a_message_of_parts_alone_has_its_length_overheads_included(tokens: tuple[int, ...], known: str) -> None:
    maker = TextMaker(TextCalibration(a=3.0, b=1.0, m=4.0, costs=known), "run")
    cost = dict(zip(WORDS, known or "1" * 256, strict=True))
    texts = tuple(block(str(place), size) for place, size in enumerate(tokens))
    walk = Walk(Session(index=0, kind="x", nodes=(Node(name="a", texts=texts),)), warmup=False)
    [message] = walk.messages(0, maker)
    said = message["content"].split()
    assert 7 + sum(int(cost[word]) for word in said) == max(sum(tokens), 7 + int(cost[said[0]]))


def test_a_prompt_has_its_planned_length_however_many_messages() -> None:
    plain = TextMaker(TextCalibration(a=3.0, b=1.0, m=4.0), "")
    nodes = (
        Node(name="a", texts=(Text("system", "s", 30), Text("user", "q", 20)), output_tokens=2),
        Node(name="b", after=(0,), history=0, texts=(Text("user", "short", 5), Text("user", "r", 40))),
    )
    walk = Walk(Session(index=0, kind="x", nodes=nodes), warmup=False)
    sizes = []
    for place in range(2):
        said = walk.messages(place, plain)
        sizes.append(3 + sum(4 + len(message["content"].split()) for message in said))
        walk.finished(place, place + 1, {"role": "assistant", "content": f"answer {place}"})
    assert sizes == [50, 50 + 2 + 45]  # the short message's own overhead is taken from the one after it


def test_joined_answers_stand_before_the_last_text_or_alone() -> None:
    roots = [Node(name=f"r{n}", texts=(Text("user", f"r{n}", 9),)) for n in range(2)]
    alone = messages(*roots, Node(name="j", after=(0, 1), joins=(0, 1)), index=2)
    assert alone == [{"role": "user", "content": "answer 0\n\nanswer 1"}]
    asked = messages(
        *roots, Node(name="j", after=(0, 1), joins=(1,), history=0, texts=(Text("user", "q", 30),)), index=2
    )
    assert [message["role"] for message in asked] == ["user", "assistant", "user"]
    assert asked[1]["content"] == "answer 0"
    assert asked[2]["content"] == f"answer 1\n\n{MAKER.text(Text('user', 'q', 30), 0, less=4)}"
