"""Every fault, over real sockets."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from harness.errors import UsageError
from harness.sim.faults import Fate, Faults, Kind, draw, parse_chance


def test_an_http_error_with_a_json_body(start: Callable[..., Any]) -> None:
    sim = start(faults=Faults(error_rate=1.0))
    response = sim.stream(max_tokens=3)
    assert response.status == 500 and response.json["error"]["code"] == 500
    assert sim.stop()[0]["fault"] == "error_rate"


def test_a_status_alone_is_the_answer_to_everything(start: Callable[..., Any]) -> None:
    sim = start(faults=Faults(status=503))
    assert [sim.chat(max_tokens=1).status for _ in range(3)] == [503] * 3
    assert sim.get("/health").status == 200


def test_an_error_event_inside_http_200(start: Callable[..., Any]) -> None:
    sim = start(faults=Faults(midstream_error=1.0))
    response = sim.stream(max_tokens=20)
    assert response.status == 200 and response.end == "whole" and response.data[-1] == "[DONE]"
    *tokens, error = response.events
    assert error["error"]["code"] == 500 and 2 <= len(tokens) < 21
    assert sim.chat(max_tokens=20).status == 500
    streamed, whole = sim.stop()
    assert streamed["finish"] == "error" and streamed["output_tokens"] == len(tokens) - 1
    assert streamed["fault"] == whole["fault"] == "midstream_error"
    assert whole["status"] == 500


def test_a_connection_that_ends_without_the_answer_ending(start: Callable[..., Any]) -> None:
    sim = start(faults=Faults(truncate=1.0))
    response = sim.stream(max_tokens=20)
    assert response.end == "eof" and "[DONE]" not in response.data
    assert 1 <= len(response.events) - 1 < 20
    whole = sim.chat(max_tokens=20)
    assert whole.end == "eof" and whole.body
    assert [truth["finish"] for truth in sim.stop()] == ["error", "error"]


def test_a_connection_reset_in_the_middle(start: Callable[..., Any]) -> None:
    sim = start(faults=Faults(reset=1.0))
    assert sim.stream(max_tokens=2000).end == "reset"
    assert sim.chat(max_tokens=2000).end == "reset"
    streamed, whole = sim.stop()
    assert streamed["fault"] == whole["fault"] == "reset"
    assert 0 < streamed["output_tokens"] < 2000


def test_a_stall_holds_tokens_back_and_then_sends_what_was_due(start: Callable[..., Any]) -> None:
    sim = start(ttft=0.01, itl=0.002, faults=Faults(stall=1.0, stall_for="150ms"))
    response = sim.stream(max_tokens=40)
    assert len(response.events) == 41 and response.data[-1] == "[DONE]"
    began = time.monotonic()
    assert sim.chat(max_tokens=5).status == 200
    assert time.monotonic() - began >= 0.15
    truth = sim.stop()[0]
    assert truth["finish"] == "length" and truth["fault"] == "stall" and truth["output_tokens"] == 40
    gaps = [after - before for before, after in zip(truth["event_ns"][1:], truth["event_ns"][2:], strict=False)]
    assert max(gaps) >= 140_000_000
    assert truth["late_ns"] >= 140_000_000


def test_an_answer_without_a_token(start: Callable[..., Any]) -> None:
    sim = start(faults=Faults(empty=1.0))
    response = sim.stream(max_tokens=20, stream_options={"include_usage": True})
    role, nothing, usage = response.events
    assert role["choices"][0]["delta"]["role"] == "assistant"
    assert nothing["choices"][0]["delta"] == {} and nothing["choices"][0]["finish_reason"] == "stop"
    assert usage["usage"]["completion_tokens"] == 0 and response.data[-1] == "[DONE]"
    whole = sim.chat(max_tokens=20).json
    assert whole["choices"][0]["message"]["content"] == "" and whole["usage"]["completion_tokens"] == 0
    assert [truth["output_tokens"] for truth in sim.stop()] == [0, 0]


def test_an_event_that_is_no_json(start: Callable[..., Any]) -> None:
    sim = start(faults=Faults(garbage=1.0))
    response = sim.stream(max_tokens=10)
    bad = []
    for data in response.data[:-1]:
        try:
            json.loads(data)
        except ValueError:
            bad.append(data)
    assert len(bad) == 1 and len(response.data) == 1 + 10 + 1 + 1
    with pytest.raises(ValueError):
        _ = sim.chat(max_tokens=10).json


def test_a_rate_limit_answers_429_and_says_when_to_come_back(start: Callable[..., Any]) -> None:
    sim = start(faults=Faults(rate_limit="2/m"))
    first, second = sim.chat(max_tokens=1), sim.chat(max_tokens=1)
    assert (first.status, second.status) == (200, 429)
    assert 1 <= int(second.headers["retry-after"]) <= 30
    assert second.json["error"]["type"] == "RateLimitError"


def test_a_new_connection_is_read_late(start: Callable[..., Any]) -> None:
    sim = start(faults=Faults(slow_accept=0.1))
    client = sim.client()
    client.send("GET", "/health")
    began = time.monotonic()
    client.read()
    assert time.monotonic() - began >= 0.08
    body = b'{"prompt":"hi","max_tokens":1}'
    client.send("POST", "/v1/completions", body)
    client.read()
    client.close()
    assert client is not None and len(sim.stop()) == 1


def test_faults_can_be_aimed_at_requests_by_number(start: Callable[..., Any]) -> None:
    sim = start(faults=Faults(error_rate=[2, 4], truncate=[3]))
    found = [sim.stream(max_tokens=5) for _ in range(5)]
    assert [response.status for response in found] == [200, 500, 200, 500, 200]
    assert [response.end for response in found] == ["whole", "whole", "eof", "whole", "whole"]


def test_an_answer_of_one_token_can_break_too(start: Callable[..., Any]) -> None:
    response = start(faults=Faults(truncate=1.0)).stream(max_tokens=1)
    assert response.status == 200 and response.end == "eof" and response.events == []


def test_a_draw_depends_on_the_seed_and_the_id_alone() -> None:
    faults = Faults(truncate=0.3, stall=0.3, stall_for=1.0)
    fates = [draw(faults, 1, number, f"r{number}") for number in range(300)]
    assert fates == [draw(faults, 1, number + 99, f"r{number}") for number in range(300)]
    assert fates != [draw(faults, 2, number, f"r{number}") for number in range(300)]
    kinds = [fate.kind for fate in fates if fate]
    assert 60 <= kinds.count(Kind.TRUNCATE) <= 120 and 35 <= kinds.count(Kind.STALL) <= 95
    assert draw(Faults(), 1, 1, None) is None


def test_a_fault_strikes_after_the_first_token_where_there_are_more() -> None:
    assert [Fate(Kind.RESET, place).before(5) for place in (0.0, 0.5, 0.999)] == [1, 3, 4]
    assert Fate(Kind.RESET, 0.9).before(1) == 0


@pytest.mark.parametrize(("text", "wanted"), [("0.25", 0.25), ("5%", 0.05), ("@3", [3]), ("@3,17", [3, 17])])
def test_a_chance_is_a_share_or_a_list(text: str, wanted: Any) -> None:
    assert parse_chance(text) == wanted


@pytest.mark.parametrize("text", ["often", "120%", "-1", "@", "@0", "@a,2", "@3,"])
def test_what_is_no_chance_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_chance(text)


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (Faults(stall=0.1), "no length"),
        (Faults(stall_for=1.0), "no request stalls"),
        (Faults(status=200), "400 to 599"),
    ],
)
def test_contradictions_are_refused(faults: Faults, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        faults.check()


def test_the_command_line_overrides_the_profile() -> None:
    merged = Faults(truncate=0.5, reset=0.1).merged(Faults(truncate=0.2, status=503))
    assert (merged.truncate, merged.reset, merged.status) == (0.2, 0.1, 503)
