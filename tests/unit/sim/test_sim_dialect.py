"""The OpenAI dialect over real sockets."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from harness.sim.profile import Cache, Habits, Profile, Scheduler
from harness.sim.tokenizer import pieces, token_id

USAGE = {"stream_options": {"include_usage": True}}


def profile(**answer: Any) -> Profile:
    return Profile(name="test", model="test-model", answer=Habits(**answer))


def test_a_chat_stream_has_a_role_tokens_usage_and_an_end(start: Callable[..., Any]) -> None:
    sim = start()
    response = sim.stream("hello there my friend", max_tokens=4, request_id="r-1", **USAGE)
    assert response.status == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["x-request-id"] == "r-1"
    assert response.data[-1] == "[DONE]"
    role, *tokens, usage = response.events
    assert role["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert len(tokens) == 4
    assert [event["choices"][0]["finish_reason"] for event in tokens] == [None, None, None, "length"]
    text = "".join(event["choices"][0]["delta"]["content"] for event in tokens)
    assert len(pieces(text)) == 4
    assert usage["choices"] == []
    assert usage["usage"] == {
        "prompt_tokens": 11,
        "completion_tokens": 4,
        "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 0},
    }
    assert {event["object"] for event in response.events} == {"chat.completion.chunk"}
    assert {event["id"] for event in response.events} == {"chatcmpl-r-1"}
    assert {event["model"] for event in response.events} == {"test-model"}


def test_every_event_is_a_chunk_of_its_own(start: Callable[..., Any]) -> None:
    response = start().stream(max_tokens=5, **USAGE)
    assert len(response.chunks) == 1 + 5 + 1 + 1
    assert all(chunk.startswith(b"data: ") and chunk.endswith(b"\n\n") for chunk in response.chunks)


def test_no_usage_unless_asked_for(start: Callable[..., Any]) -> None:
    response = start().stream(max_tokens=2)
    assert all("usage" not in event for event in response.events)


def test_the_same_answer_streamed_or_not(start: Callable[..., Any]) -> None:
    sim = start()
    whole = sim.chat(max_tokens=20, temperature=0).json
    streamed = sim.stream(max_tokens=20, temperature=0)
    assert whole["object"] == "chat.completion"
    assert whole["choices"][0]["finish_reason"] == "length"
    text = "".join(event["choices"][0]["delta"].get("content", "") for event in streamed.events)
    assert whole["choices"][0]["message"] == {"role": "assistant", "content": text}
    assert whole["usage"]["completion_tokens"] == 20


def test_sampled_answers_differ_by_request_and_repeat_by_seed(start: Callable[..., Any]) -> None:
    sim = start()

    def say(**fields: Any) -> str:
        return str(sim.chat(max_tokens=8, **fields).json["choices"][0]["message"]["content"])

    assert say() != say()
    assert say(seed=5) == say(seed=5) != say(seed=6)
    assert say(request_id="a") == say(request_id="a") != say(request_id="b")


def test_completions_take_text_and_token_ids(start: Callable[..., Any]) -> None:
    sim = start()
    for prompt, tokens in [("one two three", 3), ([5, 6, 7, 8], 4), (["one two"], 2), ([[1, 2]], 2)]:
        answer = sim.post("/v1/completions", {"prompt": prompt, "max_tokens": 3}).json
        assert answer["object"] == "text_completion"
        assert answer["usage"]["prompt_tokens"] == tokens
        assert len(pieces(answer["choices"][0]["text"])) == 3
    stream = sim.post("/v1/completions", {"prompt": "one", "stream": True, **USAGE})
    assert "role" not in stream.body.decode()
    assert stream.events[-1]["usage"]["completion_tokens"] == 16
    assert len(stream.events) == 17 and stream.data[-1] == "[DONE]"
    assert stream.events[15]["choices"][0]["finish_reason"] == "length"


def test_token_ids_come_with_every_event(start: Callable[..., Any]) -> None:
    sim = start()
    response = sim.stream("hello", max_tokens=3, return_token_ids=True)
    role, *tokens = response.events
    assert len(role["prompt_token_ids"]) == 1 + 4 + 3
    for event in tokens:
        choice = event["choices"][0]
        assert choice["token_ids"] == [token_id(choice["delta"]["content"])]
    whole = sim.chat("hello", max_tokens=3, return_token_ids=True).json
    assert len(whole["choices"][0]["token_ids"]) == 3 and whole["prompt_token_ids"] == role["prompt_token_ids"]
    body = {"prompt": [9, 8], "max_tokens": 2, "return_token_ids": True}
    assert sim.post("/v1/completions", body).json["choices"][0]["prompt_token_ids"] == [9, 8]
    first = sim.post("/v1/completions", {**body, "stream": True}).events[0]
    assert first["choices"][0]["prompt_token_ids"] == [9, 8]


def test_continuous_usage_counts_up(start: Callable[..., Any]) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    response = start().stream(max_tokens=3, stream_options=options)
    assert [event["usage"]["completion_tokens"] for event in response.events] == [0, 1, 2, 3, 3]


def test_several_tokens_an_event(start: Callable[..., Any]) -> None:
    response = start(tokens_per_event=4).stream(max_tokens=10, **USAGE)
    _, *tokens, usage = response.events
    texts = [event["choices"][0]["delta"]["content"] for event in tokens]
    assert [len(pieces(text)) for text in texts] == [1, 4, 4, 1]
    assert usage["usage"]["completion_tokens"] == 10
    assert len(pieces("".join(texts))) == 10


def test_reasoning_is_sent_first_and_counted(start: Callable[..., Any]) -> None:
    sim = start(profile(reasoning=0.5), tokens_per_event=4)
    response = sim.stream(max_tokens=12, **USAGE)
    _, *tokens, usage = response.events
    deltas = [event["choices"][0]["delta"] for event in tokens]
    assert [next(iter(delta)) for delta in deltas] == ["reasoning_content"] * 3 + ["content"] * 2
    assert [len(pieces(next(iter(delta.values())))) for delta in deltas] == [1, 4, 1, 3, 3]
    assert usage["usage"]["completion_tokens_details"] == {"reasoning_tokens": 6}
    message = sim.chat(max_tokens=12).json["choices"][0]["message"]
    assert len(pieces(message["content"])) == len(pieces(message["reasoning_content"])) == 6
    completion = sim.post("/v1/completions", {"prompt": "hello", "max_tokens": 4}).json
    assert "reasoning" not in json.dumps(completion)


TOOLS = [{"type": "function", "function": {"name": "look_up", "parameters": {}}}]


def test_a_tool_call_is_streamed_where_the_profile_says_so(start: Callable[..., Any]) -> None:
    sim = start(profile(tool_calls=True))
    response = sim.stream(max_tokens=6, tools=TOOLS)
    _, *tokens = response.events
    calls = [event["choices"][0]["delta"]["tool_calls"][0] for event in tokens]
    assert calls[0]["function"]["name"] == "look_up" and calls[0]["id"]
    assert json.loads("".join(call["function"]["arguments"] for call in calls))["input"]
    assert tokens[-1]["choices"][0]["finish_reason"] == "tool_calls"
    choice = sim.chat(max_tokens=6, tools=TOOLS).json["choices"][0]
    assert choice["finish_reason"] == "tool_calls" and choice["message"]["content"] is None
    assert json.loads(choice["message"]["tool_calls"][0]["function"]["arguments"])["input"]
    assert sim.chat(max_tokens=6, tools=TOOLS, tool_choice="none").json["choices"][0]["finish_reason"] == "length"


def test_without_the_switch_tools_only_make_the_prompt_longer(start: Callable[..., Any]) -> None:
    sim = start()
    plain = sim.chat(max_tokens=2).json["usage"]["prompt_tokens"]
    answer = sim.chat(max_tokens=2, tools=TOOLS).json
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["prompt_tokens"] > plain


def test_length_without_a_limit_is_drawn_and_ends_by_itself(start: Callable[..., Any]) -> None:
    sim = start(profile(median=10, sigma=0.5, max=30))
    answers = [sim.chat(f"question {k}").json for k in range(20)]
    lengths = [answer["usage"]["completion_tokens"] for answer in answers]
    assert {answer["choices"][0]["finish_reason"] for answer in answers} == {"stop"}
    assert all(1 <= length <= 30 for length in lengths) and len(set(lengths)) > 3


def test_the_answer_may_end_early_only_where_the_profile_says_so(start: Callable[..., Any]) -> None:
    sim = start(profile(eos=0.2))
    early = [sim.chat(f"q {k}", max_completion_tokens=200, min_tokens=5).json for k in range(10)]
    assert {answer["choices"][0]["finish_reason"] for answer in early} == {"stop"}
    assert all(5 <= answer["usage"]["completion_tokens"] < 200 for answer in early)
    full = sim.chat("q 1", max_tokens=200, ignore_eos=True).json
    assert full["usage"]["completion_tokens"] == 200 and full["choices"][0]["finish_reason"] == "length"
    assert start(profile(eos=1.0)).chat(max_tokens=9).json["usage"]["completion_tokens"] == 1


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{nope", "not valid JSON"),
        (b"[1]", "object"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "user", "content": "a"}], "n": 2}, "n is 2"),
        ({"messages": [{"role": "user", "content": "a"}], "max_tokens": 0}, "at least 1"),
        ({"messages": [{"role": "user", "content": "a"}], "max_tokens": "many"}, "max_tokens"),
        ({"messages": [{"role": "user", "content": "a"}], "max_tokens": 4, "min_tokens": 5}, "min_tokens"),
        ({"messages": [{"role": "user", "content": "a"}], "max_tokens": 999_999}, "maximum context length"),
        ({"messages": [{"role": "user", "content": "a"}], "stream_options": {"include_usage": True}}, "stream"),
    ],
)
def test_bad_requests_get_an_openai_error(start: Callable[..., Any], body: Any, words: str) -> None:
    response = start().post("/v1/chat/completions", body)
    assert response.status == 400
    error = response.json["error"]
    assert words in error["message"] and error["type"] == "BadRequestError" and error["code"] == 400


@pytest.mark.parametrize("prompt", [None, "", [], ["a", "b"], [1, "a"], [-1], [True], 7])
def test_bad_prompts_are_refused(start: Callable[..., Any], prompt: Any) -> None:
    assert start().post("/v1/completions", {"prompt": prompt}).status == 400


def test_model_names(start: Callable[..., Any]) -> None:
    loose = start()
    assert loose.chat(max_tokens=1, model="other").json["model"] == "other"
    assert [card["id"] for card in loose.get("/v1/models").json["data"]] == ["test-model"]
    strict = start(strict_model=True)
    assert strict.chat(max_tokens=1, model="test-model").status == 200
    refused = strict.chat(max_tokens=1, model="other")
    assert refused.status == 404 and "does not exist" in refused.json["error"]["message"]


def test_tokenize_agrees_with_usage(start: Callable[..., Any]) -> None:
    sim = start()
    messages = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hello over there"}]
    counted = sim.post("/tokenize", {"messages": messages}).json
    answer = sim.post("/v1/chat/completions", {"messages": messages, "max_tokens": 1}).json
    assert counted["count"] == len(counted["tokens"]) == answer["usage"]["prompt_tokens"]
    assert counted["max_model_len"] == Scheduler().max_model_len
    assert sim.post("/tokenize", {"prompt": "one two"}).json["count"] == 2
    assert sim.post("/tokenize", {}).status == 400


def test_health_version_and_unknown_paths(start: Callable[..., Any]) -> None:
    sim = start(seed=3)
    assert sim.get("/health").status == 200
    version = sim.get("/version").json
    assert version["engine"] == "harness-sim" and version["profile"] == "test" and version["seed"] == 3
    assert sim.get("/nowhere").status == 404
    assert sim.get("/v1/chat/completions").status == 405
    assert sim.get("/v1/models?limit=1").status == 200


def test_the_prefix_cache_over_http(start: Callable[..., Any]) -> None:
    sim = start(Profile(name="t", model="t", cache=Cache(block_size=4)))
    long = " ".join(["word"] * 40)

    def cached() -> int:
        usage = sim.stream(long, max_tokens=2, **USAGE).events[-1]["usage"]
        return int(usage["prompt_tokens_details"]["cached_tokens"])

    assert cached() == 0
    assert cached() == 44  # 47 tokens: eleven full blocks of four
    assert sim.post("/reset_prefix_cache", b"").json == {"success": True}
    assert cached() == 0


def sample(page: str, name: str) -> float:
    found = [line for line in page.splitlines() if line.startswith(f"vllm:{name}")]
    assert len(found) == 1, found
    return float(found[0].rpartition(" ")[2])


def test_metrics_under_vllms_names(start: Callable[..., Any]) -> None:
    sim = start()
    sim.stream(max_tokens=5)
    sim.chat(max_tokens=3)
    sim.chat(max_tokens=0)
    response = sim.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    page = response.body.decode()
    assert 'model_name="test-model"' in page
    assert sample(page, "generation_tokens_total") == 8
    assert sample(page, "prompt_tokens_total") == sample(page, "prefix_cache_queries_total") == 18
    assert sample(page, "num_requests_running") == sample(page, "num_requests_waiting") == 0
    assert sample(page, "kv_cache_usage_perc") == 0
    assert sample(page, 'request_success_total{engine="0",model_name="test-model",finished_reason="length"') == 2
    assert sample(page, 'request_success_total{engine="0",model_name="test-model",finished_reason="error"') == 1
    for name in (
        "time_to_first_token_seconds",
        "request_time_per_output_token_seconds",
        "e2e_request_latency_seconds",
        "request_queue_time_seconds",
        "request_prefill_time_seconds",
        "request_decode_time_seconds",
    ):
        assert sample(page, f"{name}_count") == 2
        assert sample(page, f'{name}_bucket{{engine="0",model_name="test-model",le="+Inf"') == 2
    assert sample(page, "inter_token_latency_seconds_count") == 6


def test_metrics_are_prometheus_text(start: Callable[..., Any]) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    sim = start(Profile(name="t", model='a "model"\\'))
    sim.chat(max_tokens=2)
    families = {family.name: family for family in text_string_to_metric_families(sim.get("/metrics").body.decode())}
    assert families["vllm:generation_tokens"].samples[0].labels["model_name"] == 'a "model"\\'
    assert families["vllm:time_to_first_token_seconds"].type == "histogram"


def test_one_connection_serves_many_requests_and_chunked_bodies(start: Callable[..., Any]) -> None:
    sim = start()
    client = sim.client()
    body = msgspec.json.encode({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2, "stream": True})
    for _ in range(3):
        client.send("POST", "/v1/chat/completions", body)
        assert client.read().data[-1] == "[DONE]"
    half = len(body) // 2
    chunked = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:half], body[half:])) + b"0\r\n\r\n"
    client.send("POST", "/v1/chat/completions", chunked, {"transfer-encoding": "chunked"})
    assert client.read().data[-1] == "[DONE]"
    client.send("GET", "/health")
    client.send("GET", "/version")  # both at once: answered in order
    assert client.read().body == b"" and client.read().json["engine"] == "harness-sim"
    client.send("GET", "/health", headers={"connection": "close"})
    assert client.read().headers["connection"] == "close"
    with pytest.raises(EOFError):
        client._more()
    client.close()
    assert {truth["conn"] for truth in sim.stop()} == {sim.stop()[0]["conn"]}


def test_a_body_may_wait_for_a_go_ahead(start: Callable[..., Any]) -> None:
    client = start().client()
    body = b'{"prompt": "hi"}'
    client.send_raw(b"POST /tokenize HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(body))
    assert client._until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue"
    client.send_raw(body)
    assert client.read().json["count"] == 1
    client.close()


def test_a_body_that_is_too_large_is_refused(start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.sim.http.MAX_BODY", 1000)
    assert start().post("/tokenize", b"x" * 1001).status == 413


def test_what_is_not_http_is_refused(start: Callable[..., Any]) -> None:
    client = start().client()
    client.send_raw(b"\x16\x03\x01 hello\r\n\r\n")
    assert client.read().status == 400
    client.close()
