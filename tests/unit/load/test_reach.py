"""Reaching a target: what is found out about it, and one clear line for everything that can be wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from harness.config import Experiment
from harness.errors import ConfigError, TargetError
from harness.load.reach import Reached, reach
from harness.load.survey import survey
from harness.workloads.text import WORDS

OK = b"200 OK"
Answer = Callable[[str, dict[str, Any]], tuple[bytes, bytes, bytes]]


def engine(path: str, asked: dict[str, Any]) -> tuple[bytes, bytes, bytes]:
    """A well-behaved server: status, content type, body."""
    if path.endswith("/models"):
        return OK, b"application/json", b'{"data":[{"id":"first"},{"id":"second"}]}'
    if path.endswith("/version"):
        return OK, b"application/json", b'{"version":"9.9"}'
    if path == "/tokenize":
        return OK, b"application/json", b'{"tokens":[1,2]}'
    if not path.endswith("/completions"):
        return b"404 Not Found", b"text/plain", b"no"
    said = [asked["prompt"]] if "prompt" in asked else [message["content"] for message in asked["messages"]]
    words = len(" ".join(said).split())
    usage = {"prompt_tokens": 3 + 5 * len(said) + 2 * words, "completion_tokens": asked["max_tokens"]}
    if not asked.get("stream"):
        body = {"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}], "usage": usage}
        return OK, b"application/json", json.dumps(body).encode()
    events = [
        {"choices": [{"delta": {"content": "Hi"}, "finish_reason": None}]},
        {"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": usage},
    ]
    return OK, b"text/event-stream", b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events)


def serving(answer: Answer, *lines: bytes, close: bool = False) -> Any:
    """A script that answers by function."""

    def script(peer: Any) -> None:
        while request := peer.request():
            head, _, body = request.partition(b"\r\n\r\n")
            path = head.split(b" ")[1].decode()
            status, kind, said = answer(path, json.loads(body) if body else {})
            more = b"".join(line + b"\r\n" for line in lines)
            peer.send(
                b"HTTP/1.1 %b\r\ncontent-type: %b\r\ncontent-length: %d\r\n%b\r\n%b"
                % (status, kind, len(said), more, said)
            )
            if close:
                return

    return script


def experiment(url: str, wire: str = "harness", **backend: Any) -> Experiment:
    return Experiment.model_validate(
        {
            "backend": {"kind": "openai", "url": url, "model": "tiny", **backend},
            "workload": {"kind": "chat"},
            "load": {"concurrency": 1, "sessions": 1, "wire": wire},
        }
    )


@pytest.fixture(params=["harness", "httpx"])
def wire(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def reached(url: str, wire: str = "harness", **backend: Any) -> Reached:
    asked = experiment(url, wire, **backend)
    return reach(asked, asked.backend)


def refused(url: str, wire: str = "harness", **backend: Any) -> TargetError:
    with pytest.raises(TargetError) as raised:
        reached(url, wire, **backend)
    assert "\n" not in raised.value.message
    assert url in raised.value.message
    return raised.value


def test_a_good_server(serve: Any, wire: str) -> None:
    server = serve(serving(engine, b"server: some-engine/1.2"))
    found = reached(server.url, wire)
    assert (found.target.model, found.target.engine, found.target.engine_version) == ("tiny", "some-engine", "9.9")
    assert found.target.strict is False and found.target.simulated is False
    assert found.target.abilities["usage"] is True and found.target.abilities["cached_tokens"] is False
    assert found.calibration.source == "server"
    assert (found.calibration.a, found.calibration.m, found.calibration.b) == pytest.approx((3, 5, 2))
    assert found.keeps_connections


def test_a_server_that_closes_after_each_answer(serve: Any) -> None:
    found = reached(serve(serving(engine, close=True)).url)
    assert found.keeps_connections is False and found.endpoint.reuse is False


def test_the_first_model_is_taken_where_none_is_named(serve: Any, wire: str) -> None:
    assert reached(serve(serving(engine)).url, wire, model=None).target.model == "first"


@pytest.mark.parametrize("status", [b"400 Bad Request", b"422 Unprocessable"])
def test_a_server_that_refuses_unknown_fields(serve: Any, wire: str, status: bytes) -> None:
    def strict(path: str, asked: dict[str, Any]) -> tuple[bytes, bytes, bytes]:
        if "stream_options" in asked:
            return status, b"application/json", b'{"error":"unknown field stream_options"}'
        return engine(path, asked)

    found = reached(serve(serving(strict)).url, wire)
    assert found.target.strict and found.target.abilities["optional_fields"] is False


def test_a_server_that_refuses_what_only_the_load_will_ask(serve: Any) -> None:
    def strict(path: str, asked: dict[str, Any]) -> tuple[bytes, bytes, bytes]:
        if "ignore_eos" in asked:
            return b"422 Unprocessable", b"application/json", b'{"error":"unknown field ignore_eos"}'
        return engine(path, asked)

    asked = experiment(serve(serving(strict)).url)
    exact = asked.model_copy(update={"workload": asked.workload.model_copy(update={"exact_output": True})})
    assert reach(asked, asked.backend).target.strict is False
    assert reach(exact, asked.backend).target.strict is True


def test_options_of_streams_in_the_body_do_not_spoil_the_probes(serve: Any, wire: str) -> None:
    def strict(path: str, asked: dict[str, Any]) -> tuple[bytes, bytes, bytes]:
        if "stream_options" in asked and not asked.get("stream"):
            return b"400 Bad Request", b"application/json", b'{"error":"stream_options without stream"}'
        return engine(path, asked)

    found = reached(serve(serving(strict)).url, wire, body={"stream_options": {"include_usage": True}})
    assert found.target.strict is False and found.calibration.source == "server"


@pytest.mark.parametrize(("kind", "told"), [("openai", True), ("vllm", False)])
def test_only_what_the_kind_knows_is_advised(serve: Any, kind: str, told: bool) -> None:
    error = refused(serve(serving(always(b"400 Bad Request", b"no"))).url, kind=kind)
    assert "backend.body" in error.remedy and ("backend.request_ids" in error.remedy) is told


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content", None])
def test_whether_it_reasons(serve: Any, field: str | None) -> None:
    def reasons(path: str, asked: dict[str, Any]) -> tuple[bytes, bytes, bytes]:
        status, kind, body = engine(path, asked)
        return status, kind, body if field is None else body.replace(b'"content": "Hi"', b'"%b": "Hm"' % field.encode())

    assert reached(serve(serving(reasons)).url).target.abilities["reasoning"] is (field is not None)


def test_a_passing_failure_is_asked_again(serve: Any) -> None:
    left = iter([b"503 Busy"] * 3)

    def busy(path: str, asked: dict[str, Any]) -> tuple[bytes, bytes, bytes]:
        status = next(left, None)
        return engine(path, asked) if status is None else (status, b"text/plain", b"loading")

    assert reached(serve(serving(busy)).url).target.engine_version == "9.9"


def test_a_server_without_usage_leaves_the_calibration_assumed(serve: Any) -> None:
    def silent(path: str, asked: dict[str, Any]) -> tuple[bytes, bytes, bytes]:
        status, kind, body = engine(path, asked)
        return status, kind, body.replace(b'"usage"', b'"unusual"')

    found = reached(serve(serving(silent)).url)
    assert found.calibration.source == "assumed" and found.target.abilities["usage"] is False


def test_a_template_that_refuses_the_conversation_has_one_overhead(serve: Any) -> None:
    def template(path: str, asked: dict[str, Any]) -> tuple[bytes, bytes, bytes]:
        if len(asked.get("messages", ())) > 1:
            return b"400 Bad Request", b"application/json", b'{"error":"roles must be user"}'
        return engine(path, asked)

    found = reached(serve(serving(template)).url)
    assert (found.calibration.a, found.calibration.m, found.calibration.b) == pytest.approx((0, 8, 2))
    assert found.target.strict is False


@pytest.mark.parametrize("wrong", [False, True])
def test_words_of_different_lengths_are_asked_for_one_by_one(serve: Any, wrong: bool) -> None:
    cost = {word: 1 + len(word) // 5 for word in WORDS}

    def uneven(path: str, asked: dict[str, Any]) -> tuple[bytes, bytes, bytes]:
        if path == "/tokenize":
            asked_words = asked["prompt"].split(" ")
            ids = [id for n, word in enumerate(asked_words) for id in [n] * cost[word.strip()] + [999] * ("\n" in word)]
            told = {"tokens": ids[: 30 if wrong else None]}
            return OK, b"application/json", json.dumps(told).encode()
        status, kind, body = engine(path, asked)
        if path.endswith("/completions"):
            said = [message["content"] for message in asked["messages"]]
            tokens = 3 + 5 * len(said) + sum(cost[word] for word in " ".join(said).split())
            words = len(" ".join(said).split())
            body = body.replace(b"%d" % (3 + 5 * len(said) + 2 * words), b"%d" % tokens)
        return status, kind, body

    found = reached(serve(serving(uneven)).url).calibration
    assert found.source == "server"
    assert found.costs == ("" if wrong else "".join(str(cost[word]) for word in WORDS))
    assert found.b == pytest.approx(sum(cost.values()) / 256, rel=0.01)


def test_a_server_that_counts_oddly_leaves_the_calibration_assumed(serve: Any) -> None:
    def constant(path: str, asked: dict[str, Any]) -> tuple[bytes, bytes, bytes]:
        if "messages" in asked:
            asked = {**asked, "messages": [{"content": "same"}]}  # however many they are
        return engine(path, asked)

    assert reached(serve(serving(constant)).url).calibration.source == "assumed"


def always(status: bytes, body: bytes, kind: bytes = b"application/json") -> Answer:
    return lambda _path, _asked: (status, kind, body)


@pytest.mark.parametrize(
    ("answer", "words", "remedy"),
    [
        (always(b"401 Unauthorized", b'{"error":"bad key"}'), 'HTTP 401: {"error":"bad key"}', "backend.api_key"),
        (always(b"403 Forbidden", b""), "HTTP 403", "not allowed"),
        (always(b"404 Not Found", b'{"error":"no such model"}'), "HTTP 404", "backend.model"),
        (always(b"400 Bad Request", b"never\n pleased"), "HTTP 400: never pleased", ""),
        (always(b"301 Moved", b""), "redirects to http://elsewhere/v1", "http://elsewhere/v1"),
        (always(OK, b"<html>Hello</html>", b"text/html"), "not JSON", "base URL"),
        (always(OK, b'{"choices":[{"message":{"content":""}}]}'), "without any generated token", ""),
        (always(OK, b'{"error":{"message":"broken"}}'), "broken", ""),
    ],
)
def test_servers_that_cannot_be_used(serve: Any, wire: str, answer: Answer, words: str, remedy: str) -> None:
    server = serve(serving(answer, b"location: http://elsewhere/v1"))
    error = refused(server.url, wire)
    assert error.message.startswith(f"cannot use {server.url}: ")
    assert words in error.message and remedy in error.remedy
    assert error.exit_code == 3


@pytest.mark.parametrize("model", ["tiny", None])
def test_nothing_listens(wire: str, unused_port: int, model: str | None) -> None:
    error = refused(f"http://127.0.0.1:{unused_port}/v1", wire, model=model)
    assert error.message.startswith("cannot reach http") and "refused" in error.message.lower()
    assert "Start the server" in error.remedy


@pytest.mark.parametrize("model", ["tiny", None])
def test_an_unknown_certificate(serve: Any, wire: str, certificate: Any, model: str | None) -> None:
    error = refused(serve(serving(engine), context=certificate.context()).url, wire, model=model)
    assert "signed" in error.message
    assert "backend.verify" in error.remedy


@pytest.mark.parametrize("model", ["tiny", None])
@pytest.mark.parametrize("bundle", [True, False])
def test_a_certificate_that_is_vouched_for(
    serve: Any, wire: str, certificate: Any, bundle: bool, model: str | None
) -> None:
    verify = str(certificate.path) if bundle else False
    found = reached(serve(serving(engine), context=certificate.context()).url, wire, verify=verify, model=model)
    assert found.target.engine_version == "9.9"


def test_not_http(serve: Any, wire: str) -> None:
    def script(peer: Any) -> None:
        peer.request()
        peer.send(b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n")

    assert "does not speak HTTP" in refused(serve(script).url, wire).remedy


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (always(OK, b'{"data":[]}'), "lists no model"),
        (always(OK, b"[]"), "lists no model"),
        (always(OK, b"<html>"), "lists no model"),
        (always(b"404 Not Found", b""), "lists no model (HTTP 404)"),
        (always(b"401 Unauthorized", b""), "HTTP 401"),
    ],
)
def test_no_model_to_be_found(serve: Any, wire: str, answer: Answer, words: str) -> None:
    error = refused(serve(serving(answer)).url, wire, model=None)
    assert words in error.message and error.remedy


def test_a_refused_key_is_what_the_remedy_speaks_of(serve: Any) -> None:
    error = refused(serve(serving(always(b"401 Unauthorized", b""))).url, model=None)
    assert "backend.api_key" in error.remedy


def test_the_key_is_sent_and_never_shown(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "very-secret-key")
    server = serve(serving(lambda path, asked: (b"401 No", b"text/plain", b"unknown key very-secret-key")))
    error = refused(server.url, api_key="env:SOME_KEY", headers={"x-more": "env:SOME_KEY"})
    assert "very-secret-key" not in error.message and "***" in error.message
    head = server.requests[0].lower()
    assert b"authorization: bearer very-secret-key\r\n" in head and b"x-more: very-secret-key\r\n" in head


def test_a_key_that_is_not_set(unused_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_KEY", raising=False)
    with pytest.raises(ConfigError, match="SOME_KEY is not set"):
        reached(f"http://127.0.0.1:{unused_port}/v1", api_key="env:SOME_KEY")


def test_a_server_that_never_answers(serve: Any, wire: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.load.reach._PATIENCE_S", 0.1)
    error = refused(serve(lambda peer: peer.wait()).url, wire)
    assert "no answer in time" in error.message


def test_survey(serve: Any) -> None:
    asked = experiment(serve(serving(engine)).url)
    found = survey(asked, asked.backend)
    assert found.models == ["first", "second"]
    assert (found.dialect, found.api, found.abilities["reasoning"]) == ("openai", "chat", False)
    assert (found.tokens_per_word, found.message_overhead_tokens) == pytest.approx((2, 5))
    assert found.prompt_overhead_tokens == pytest.approx(3)
    assert found.pages["/tokenize"] == 200 and found.pages["/metrics"] == 404
    expected = {"keep_alive": True, "tokenize": True, "metrics": False, "health": False, "prefix_cache_reset": False}
    assert expected.items() <= found.abilities.items()


def claude(thinks: bool) -> Answer:
    """A server of the Messages API."""
    kinds = {True: ("thinking", "thinking"), False: ("text", "text")}

    def answer(path: str, asked: dict[str, Any]) -> tuple[bytes, bytes, bytes]:
        if not path.endswith("/messages"):
            return b"404 Not Found", b"text/plain", b"no"
        kind, field = kinds[thinks]
        usage = {"input_tokens": 9, "output_tokens": 1}
        if not asked.get("stream"):
            body = {"content": [{"type": kind, field: "Hm"}], "stop_reason": "max_tokens", "usage": usage}
            return OK, b"application/json", json.dumps(body).encode()
        events: list[dict[str, Any]] = [
            {"type": "message_start", "message": {"usage": usage}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": f"{kind}_delta", field: "Hm"}},
            {"type": "message_delta", "delta": {"stop_reason": "max_tokens"}, "usage": {"output_tokens": 1}},
            {"type": "message_stop"},
        ]
        return OK, b"text/event-stream", b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events)

    return answer


@pytest.mark.parametrize("thinks", [True, False])
def test_survey_tells_the_dialect_and_whether_it_thinks(serve: Any, thinks: bool) -> None:
    asked = experiment(serve(serving(claude(thinks))).url, kind="anthropic")
    found = survey(asked, asked.backend)
    assert (found.dialect, found.api, found.abilities["reasoning"]) == ("anthropic", "messages", thinks)


def test_survey_of_a_server_with_nothing_but_chat(serve: Any) -> None:
    def bare(path: str, asked: dict[str, Any]) -> tuple[bytes, bytes, bytes]:
        if path.endswith("/models"):
            return OK, b"text/html", b"<html>"
        return engine(path, asked) if path.endswith("/completions") else (b"500 No", b"text/plain", b"")

    asked = experiment(serve(serving(bare)).url)
    found = survey(asked, asked.backend)
    assert (found.models, found.engine_version) == ([], None)
    assert found.abilities["tokenize"] is False
