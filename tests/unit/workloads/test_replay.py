"""Replay: what was recorded is what is asked, and what cannot be used is said."""
# ruff: noqa: E501 (rows of traces are written in one line)

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.config import Experiment
from harness.config.load import load
from harness.errors import ConfigError
from harness.plan import make_plan
from harness.plan.explain import explain
from harness.workloads.replay import Replay
from harness.workloads.session import Session, check
from harness.workloads.traces.formats import NAMES, reader

TRACES = Path(__file__).parent / "traces"
FILES = {path.name.partition(".")[0]: path for path in TRACES.iterdir()}


def replay(path: Path, **params: Any) -> Replay:
    return Replay(Replay.Params.model_validate({"path": str(path), **params}))


def sessions(path: Path, **params: Any) -> list[Session]:
    made = replay(path, **params)
    found = [made.session(7, index) for index in range(len(made.sessions))]
    for session in found:
        check(session)
    return found


def written(folder: Path, *rows: Any, name: str = "trace.jsonl") -> Path:
    file = folder / name
    file.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return file


def shape(session: Session) -> list[tuple[str, tuple[int, ...], int | None, int, int, float]]:
    return [
        (node.name, node.after, node.history, node.input_tokens, node.output_tokens, node.gap_ns / 1e9)
        for node in session.nodes
    ]


def keys(session: Session, place: int) -> list[str]:
    return [text.key.split(".", 1)[1] for text in session.nodes[place].texts if text.part]


# formats


@pytest.mark.parametrize("name", NAMES)
def test_every_format_is_recognised_and_packed_files_are_the_same(name: str, tmp_path: Path) -> None:
    plain = replay(FILES[name])
    assert plain.format == name
    packed = tmp_path / f"{FILES[name].name}.gz"
    packed.write_bytes(gzip.compress(FILES[name].read_bytes()))
    assert replay(packed).session(7, 0) == plain.session(7, 0)
    assert not plain._file.skipped


def test_mooncake() -> None:
    one, two, talk = sessions(FILES["mooncake"])
    assert shape(one) == [("turn-1", (), None, 1200, 52, 0)]
    assert keys(one, 0) == ["0.block.46", "0.block.47", "0.block.48.176"]
    assert keys(two, 0)[:2] == keys(one, 0)[:2]
    assert shape(talk) == [("turn-1", (), None, 600, 30, 0), ("turn-2", (0,), 0, 670, 60, 2.5)]
    assert replay(FILES["mooncake"]).starts_s() == pytest.approx([0, 3.053, 3.518])


def test_azure() -> None:
    assert [shape(session)[0][3:5] for session in sessions(FILES["azure"])] == [(4808, 10), (3180, 8), (110, 27)]
    assert replay(FILES["azure"]).starts_s() == pytest.approx([0, 0.052, 0.098236], abs=1e-6)


def test_burstgpt() -> None:
    talk, single = sessions(FILES["burstgpt"])
    assert shape(talk) == [
        ("turn-1", (), None, 472, 18, 0),
        ("turn-2", (0,), 0, 520, 100, 52.5),
        ("turn-3", (1,), None, 40, 20, 26),
    ]
    assert shape(single) == [("turn-1", (), None, 1087, 230, 0)]
    assert "left out: 1 requests that got no answer" in replay(FILES["burstgpt"]).notes()


def test_weka() -> None:
    [only] = sessions(FILES["weka"])
    assert shape(only) == [
        ("step-1", (), None, 150, 20, 0),
        ("sub-1.step-1", (0,), None, 130, 10, 1),
        ("sub-1.step-2", (1,), None, 200, 10, 0.5),
        ("sub-2.step-1", (0,), None, 130, 10, 1),
        ("step-2", (2,), None, 260, 30, 0.25),
        ("step-3", (4, 3), None, 330, 30, 1),
    ]
    assert [node.depth for node in only.nodes] == [0, 1, 1, 1, 0, 0]
    assert keys(only, 4)[:2] == keys(only, 0)[:2] == ["0.block.trace_1.1", "0.block.trace_1.2"]


def test_a_folder_of_sessions(tmp_path: Path) -> None:
    for place in range(3):
        (tmp_path / f"{place}.json").write_text(FILES["weka"].read_text().replace("trace_1", f"trace_{place}"))
    assert len(sessions(tmp_path)) == 3


def test_aiperf() -> None:
    [only] = sessions(FILES["aiperf"])
    by_name = {node.name: node for node in only.nodes}
    waits = {name: {only.nodes[place].name for place in node.after} for name, node in by_name.items()}
    assert waits == {
        "root.1": set(),
        "worker.1": {"root.1"},
        "worker.2": {"worker.1"},
        "root.2": {"worker.2"},
        "aside.1": {"root.2"},
        "late.1": {"root.2"},
        "root.3": {"root.2"},
        "root.4": {"root.3", "late.1"},
    }
    assert by_name["worker.1"].history is None and only.nodes[by_name["aside.1"].history or 0].name == "root.2"
    assert by_name["root.2"].gap_ns == 250_000_000 and by_name["root.4"].output_tokens == 64


def test_trie() -> None:
    tools, single = sessions(FILES["trie"])
    assert shape(tools) == [
        ("step-1", (), None, 4000, 120, 0),
        ("step-2", (0,), 0, 4620, 80, 0.4),
        ("step-3", (1,), 1, 4760, 300, 2.5),
    ]
    assert len(single.nodes) == 1


def test_otel() -> None:
    _, agents = sessions(FILES["otel"])
    assert shape(agents) == [
        ("step-1", (), None, 100, 20, 0),
        ("agent-1.step-1", (0,), None, 300, 30, 0.1),
        ("agent-2.step-1", (0,), None, 310, 30, 0.2),
        ("agent-1.step-2", (1,), 1, 400, 10, 0.5),
        ("step-2", (2, 3), 0, 200, 50, 0.5),
    ]
    assert [node.depth for node in agents.nodes] == [0, 1, 1, 1, 0]


def test_sharegpt() -> None:
    talk, brief = sessions(FILES["sharegpt"])
    assert [node.history for node in talk.nodes] == [None, 0] and len(brief.nodes) == 1
    assert replay(FILES["sharegpt"]).starts_s() is None


def test_our_own() -> None:
    research, _, chat = sessions(FILES["harness"])
    assert shape(research)[3] == ("report", (1, 2), 0, 440, 200, 0)
    assert keys(research, 1) == ["0.block.a0", "0.block.b1", "0.block.b2", "0.block.b3", "0.block.b4.44"]
    assert chat.nodes[1].input_tokens == 100 + 40 + 25


# time, scale, rounds


def test_times_are_scaled_and_gaps_capped() -> None:
    made = replay(FILES["trie"], time_scale=2, gap_cap="1s")
    assert [node.gap_ns / 1e9 for node in made.session(7, 0).nodes] == [0, 0.8, 1]
    assert made.gap_share_removed == pytest.approx(1 - 1.8 / 5.8)
    assert "gap_cap 1.00 s takes away 69.0% of the trace's gap time" in made.notes()
    assert replay(FILES["harness"], time_scale=0.5).starts_s() == [0, 0.35, 0.75]


def test_arrivals_are_those_of_the_trace() -> None:
    def plan(file: str, **load: Any) -> Any:
        workload = {"kind": "replay", "path": str(FILES[file]), "time_scale": 0.5}
        asked = {"backend": {"kind": "sim"}, "workload": workload, "load": {"arrivals": "trace", **load}}
        return make_plan(Experiment.model_validate(asked))

    made = plan("harness")
    assert made.arrivals_ns.tolist() == [0, 350_000_000, 750_000_000]
    assert explain(made).load == "partly open loop: sessions arrive as in the trace that is replayed"
    assert plan("harness", sessions=2).sessions == 2
    with pytest.raises(ConfigError, match=r"load\.arrivals: trace needs trace"):
        plan("sharegpt")
    with pytest.raises(ValueError, match=r"a replay has workload\.time_scale"):
        plan("harness", time_scale=2)


def test_scale_keeps_what_is_shared() -> None:
    one, two, _ = sessions(FILES["mooncake"], scale="laptop")
    assert [text.tokens for text in one.nodes[0].texts] == [32, 32, 11]
    assert one.nodes[0].texts[:2] == two.nodes[0].texts[:2]


def test_the_next_round_has_other_texts() -> None:
    made = replay(FILES["harness"])
    first, second = made.session(7, 0), made.session(7, 3)
    assert shape(first) == shape(second)
    assert not {text.key for node in first.nodes for text in node.texts} & {
        text.key for node in second.nodes for text in node.texts
    }


def test_limit() -> None:
    assert len(sessions(FILES["azure"], limit=2)) == 2


# what cannot be used

GOOD = {"timestamp": 1, "input_length": 10, "output_length": 5}
BAD = [
    ('{"timestamp": 1, "input_length": 10, "output', "line 2: "),
    ({**GOOD, "input_length": 0}, "line 2: input_length is 0, not a number of tokens of at least 1"),
    ({**GOOD, "output_length": "x"}, "line 2: could not convert"),
    ({**GOOD, "timestamp": -1}, "line 2: timestamp is -1, not a time"),
    ({"timestamp": 1, "output_length": 5}, "line 2: input_length is missing"),
    ([1], "line 2: no JSON object"),
]


@pytest.mark.parametrize(("row", "problem"), BAD)
def test_bad_rows_are_named_and_skipped_within_the_budget(tmp_path: Path, row: Any, problem: str) -> None:
    file = written(tmp_path, GOOD, row, GOOD)
    with pytest.raises(ConfigError) as caught:
        replay(file)
    assert "1 of 3 rows cannot be used" in str(caught.value) and problem in str(caught.value)
    made = replay(file, error_budget="34%")
    assert len(made.sessions) == 2
    assert made.notes()[-1].startswith(f"skipped: 1 of 3 rows: {problem}")


@pytest.mark.parametrize(
    ("name", "row", "problem"),
    [
        ("azure", "2023-11-16 18:17:03,12", "2 columns where the header has 3"),
        ("azure", "yesterday,12,4", "Invalid isoformat string"),
        ("trie", '{"num_turns": 2, "input_prompt_length": 9, "assistant_response_length": [1], "tool_call_output_length": [], "tool_call_latency": []}', "2 turns, but 1 answers"),
        ("aiperf", '{"session_id": "x", "turns": [{"messages": [], "max_tokens": 4, "forks": ["gone"]}]}', "there is no usable session gone"),
        ("aiperf", '{"session_id": "root", "turns": []}', "there are two sessions called root"),
        ("harness", '{"harness_trace": 2, "session": "x", "nodes": []}', "a trace of version 2, where 1 is known"),
        ("harness", '{"harness_trace": 1, "session": "x", "nodes": []}', "a session needs nodes"),
        ("harness", '{"harness_trace": 1, "session": "x", "nodes": [{"name": "a", "after": ["b"], "input_tokens": 1, "output_tokens": 1}]}', "a needs b"),
        ("harness", '{"harness_trace": 1, "session": "x", "nodes": [{"name": "a", "input_tokens": 9, "output_tokens": 1}, {"name": "b", "history": "a", "input_tokens": 10, "output_tokens": 1}]}', "no more than its history; give new_tokens"),
        ("harness", '{"harness_trace": 1, "session": "x", "nods": []}', "unknown field `nods`"),
        ("otel", '{"resourceSpans": 3}', "not iterable"),
        ("sharegpt", "[3]", "no JSON object"),
    ],
)  # fmt: skip
def test_bad_rows_of_every_format(tmp_path: Path, name: str, row: str, problem: str) -> None:
    text = FILES[name].read_text().rstrip("\r\n")
    file = tmp_path / FILES[name].name
    file.write_text((text[:-1].rstrip() + f",\n{row[1:-1]}]" if text[0] == "[" else f"{text}\n{row}") + "\n")
    made = replay(file, error_budget=1)
    assert len(made._file.skipped) == 1 and problem in made._file.skipped[0][1]


def test_what_is_no_trace(tmp_path: Path) -> None:
    for file, problem in (
        (tmp_path / "none.jsonl", "cannot read .*: No such file"),
        (written(tmp_path, "", name="empty.jsonl"), "is of no format that is recognised"),
        (written(tmp_path, {"a": 1}, name="other.jsonl"), "is of no format that is recognised"),
        (tmp_path, "holds no .json or .jsonl files|is of no format"),
    ):
        with pytest.raises(ConfigError, match=problem):
            replay(file)
    with pytest.raises(ConfigError, match="is empty"):
        replay(tmp_path / "empty.jsonl", format="trie")
    with pytest.raises(ConfigError, match="holds no session that can be replayed as trie"):
        replay(written(tmp_path, {"b": 1}), format="trie", error_budget=1)
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(FILES["trie"].read_bytes())[:-9])
    with pytest.raises(ConfigError, match="cannot read"):
        replay(tmp_path / "cut.jsonl.gz", format="trie")


def test_the_trace_lies_beside_its_config(tmp_path: Path) -> None:
    (tmp_path / "trace.jsonl").write_bytes(FILES["trie"].read_bytes())
    config = tmp_path / "c.yaml"
    config.write_text("backend: {kind: sim}\nworkload: {kind: replay, path: trace.jsonl}\nload: {concurrency: 1}\n")
    made = make_plan(load(config).experiment)
    told = explain(made)
    assert told.notes == [f"trace {tmp_path / 'trace.jsonl'} (trie): 2 sessions, 4 requests"]
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("trace.jsonl", "c.yaml"):
        (tmp_path / name).rename(moved / name)
    assert make_plan(load(moved / "c.yaml").experiment).sha256 == made.sha256


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_damage_is_unforeseen(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(NAMES))
    raw = FILES[name].read_bytes()
    at = data.draw(st.integers(0, len(raw)))
    cut = data.draw(st.integers(0, 40))
    junk = data.draw(st.one_of(st.binary(max_size=6), st.sampled_from([b"null", b"-1", b"[]", b"{}", b'"x"', b"1e99"])))
    file = tmp_path_factory.mktemp("damaged") / "trace"
    file.write_bytes(raw[:at] + junk + raw[at + cut :])
    try:
        made = replay(file, format=name, error_budget=1)
    except ConfigError:
        return
    for index in range(len(made.sessions)):
        check(made.session(7, index))


def test_readers_keep_to_the_protocol() -> None:
    for name in NAMES:
        assert reader(name).recognises(FILES[name].read_text()) is True
        assert reader(name).recognises("") is False
