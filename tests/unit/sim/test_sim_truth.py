"""The truth file, and that it is true."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UsageError
from harness.sim.loop import precise_loop
from harness.sim.profile import Habits, Profile, StepTime
from harness.sim.truth import Truth, TruthFile

MS = 1_000_000
USAGE = {"stream_options": {"include_usage": True}}


def test_one_line_a_request_with_all_its_times_in_order(start: Callable[..., Any]) -> None:
    sim = start()
    before = time.monotonic_ns()
    response = sim.stream("hello there", max_tokens=5, request_id="abc", **USAGE)
    after = time.monotonic_ns()
    sim.chat(max_tokens=3)
    sim.get("/health")
    streamed, whole = sim.stop()
    assert streamed["id"] == "abc" and whole["id"] is None
    assert (streamed["number"], whole["number"]) == (1, 2) and streamed["conn"] != whole["conn"]
    assert (streamed["stream"], whole["stream"]) == (True, False)
    assert streamed["finish"] == "length" and streamed["status"] == 200 and streamed["fault"] is None
    assert (streamed["prompt_tokens"], streamed["cached_tokens"], streamed["output_tokens"]) == (9, 0, 5)
    assert len(streamed["event_ns"]) == len(response.chunks) == 8
    assert len(whole["event_ns"]) == 1 and whole["event_ns"][0] == whole["head_ns"]
    names = ["accept_ns", "first_byte_ns", "full_ns", "head_ns", "queued_ns", "scheduled_ns", "first_token_ns"]
    times = [before, *(streamed[name] for name in names), *streamed["event_ns"], streamed["end_ns"]]
    assert times == sorted(times)
    assert streamed["event_ns"][-1] < after
    assert streamed["preemptions"] == 0 and streamed["waited"] == 0 and streamed["late_ns"] >= 0


def test_bytes_are_those_on_the_wire(start: Callable[..., Any]) -> None:
    sim = start()
    client = sim.client()
    body = b'{"messages":[{"role":"user","content":"hi"}],"max_tokens":3,"stream":true}'
    sent = b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(
        body
    )
    client.send_raw(sent + body)
    got = 0
    while data := client._socket.recv(65536):
        got += len(data)
    client.close()
    (truth,) = sim.stop()
    assert (truth["bytes_in"], truth["bytes_out"]) == (len(sent) + len(body), got)


def test_refused_requests_are_in_it_too(start: Callable[..., Any]) -> None:
    sim = start()
    sim.post("/v1/chat/completions", b"{nope", x_request_id="bad")
    (truth,) = sim.stop()
    assert (truth["id"], truth["status"], truth["finish"]) == ("bad", 400, "error")
    assert truth["prompt_tokens"] is None and truth["event_ns"] == [] and truth["bytes_out"] > 0


def test_a_client_that_goes_away_is_an_abort(start: Callable[..., Any]) -> None:
    sim = start(ttft=0.01, itl=0.01)
    client = sim.client()
    body = b'{"messages":[{"role":"user","content":"hi"}],"max_tokens":10000,"stream":true}'
    client.send("POST", "/v1/chat/completions", body)
    for _ in range(3):  # the role, and two tokens
        client._until(b"data: ")
    client.close()
    deadline = time.monotonic() + 10
    while sim.simulator.source.gauges()[0] and time.monotonic() < deadline:
        time.sleep(0.005)
    assert sim.simulator.source.gauges()[0] == 0
    (truth,) = sim.stop()
    assert truth["finish"] == "abort" and 0 < truth["output_tokens"] < 10_000


def test_requests_under_way_are_told_when_the_server_stops(start: Callable[..., Any]) -> None:
    sim = start(Profile(name="t", model="t", step=StepTime(base=0.005)))
    client = sim.client()
    client.send("POST", "/v1/completions", b'{"prompt":"hi","max_tokens":10000,"stream":true}')
    client._until(b"data")
    (truth,) = sim.stop()
    client.close()
    assert truth["finish"] == "abort" and truth["event_ns"]


def test_a_client_that_does_not_read_makes_events_wait(start: Callable[..., Any]) -> None:
    sim = start(Profile(name="t", model="t", answer=Habits(max=100_000)))
    client = sim.client()
    client.send("POST", "/v1/completions", b'{"prompt":"hi","max_tokens":30000,"stream":true}')
    deadline = time.monotonic() + 20
    while not sim.simulator.metrics.finished["length"] and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(client.read().events) == 30_000
    client.close()
    (truth,) = sim.stop()
    assert truth["waited"] > 0 and truth["output_tokens"] == 30_000


def test_events_come_on_absolute_deadlines_of_the_pace(start: Callable[..., Any]) -> None:
    sim = start(ttft=0.05, itl=0.004)
    sim.stream(max_tokens=50)
    (truth,) = sim.stop()
    tokens = truth["event_ns"][1:-1]
    due = [truth["full_ns"] + 50 * MS + k * 4 * MS for k in range(50)]
    late = [event - wanted for event, wanted in zip(tokens, due, strict=True)]
    assert min(late) >= 0  # never early, and late ones do not move the next: the lateness is bounded by the record
    assert max(late) <= truth["late_ns"] + 5 * MS
    assert sorted(late)[25] < 2 * MS
    assert truth["scheduled_ns"] == truth["full_ns"] and truth["first_token_ns"] == due[0]


def test_the_pace_of_multi_token_events_is_that_of_their_last_token(start: Callable[..., Any]) -> None:
    sim = start(ttft=0.02, itl=0.002, tokens_per_event=4)
    sim.stream(max_tokens=10)
    (truth,) = sim.stop()
    first, *rest = truth["event_ns"][1:-1]
    gaps = [round((event - first) / (2 * MS)) for event in rest]
    assert gaps == pytest.approx([4, 8, 9], abs=2) and len(gaps) == 3


def test_step_times_of_a_profile_hold_in_real_time(start: Callable[..., Any]) -> None:
    sim = start(Profile(name="t", model="t", step=StepTime(base=0.004, prefill_token=0.001)))
    sim.stream("a b c", max_tokens=20)
    (truth,) = sim.stop()
    prefill = truth["first_token_ns"] - truth["scheduled_ns"]
    assert prefill == 14 * MS  # 4 ms and ten tokens
    assert truth["event_ns"][-2] - truth["first_token_ns"] >= 19 * 4 * MS


def test_time_scale_shortens_the_pace(start: Callable[..., Any]) -> None:
    sim = start(ttft=5.0, itl=1.0, time_scale=0.002)
    sim.stream(max_tokens=4)
    (truth,) = sim.stop()
    assert truth["first_token_ns"] - truth["full_ns"] == 10 * MS


def test_role_first_comes_before_the_prefill(start: Callable[..., Any]) -> None:
    sim = start(ttft=0.05, itl=0.0, role_first=True)
    response = sim.stream(max_tokens=2)
    assert response.events[0]["choices"][0]["delta"]["role"] == "assistant"
    assert sum("role" in event["choices"][0]["delta"] for event in response.events) == 1
    (truth,) = sim.stop()
    assert truth["event_ns"][0] <= truth["queued_ns"]
    assert truth["event_ns"][1] >= truth["full_ns"] + 50 * MS


def test_lines_are_on_disk_before_the_end(tmp_path: Path) -> None:
    loop = precise_loop()
    path = tmp_path / "truth.jsonl"
    file = TruthFile(path, loop)
    truth = Truth(id="a", number=1, conn=1, accept_ns=0, first_byte_ns=0, full_ns=0)
    file.add(truth)
    assert path.read_bytes() == b""
    for _ in range(400):
        file.add(truth)
    assert path.stat().st_size > 64 * 1024
    file.add(truth)
    file.close()
    assert path.read_bytes().count(b"\n") == 402
    loop.close()


def test_a_truth_file_that_cannot_be_opened_is_a_usage_error(tmp_path: Path) -> None:
    loop = precise_loop()
    with pytest.raises(UsageError, match="cannot write the truth file"):
        TruthFile(tmp_path / "nowhere" / "truth.jsonl", loop)
    loop.close()
