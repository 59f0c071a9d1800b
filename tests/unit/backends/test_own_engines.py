"""vLLM and llama.cpp: their commands, their fields, and what their own pages tell."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness import registry
from harness.backends.protocol import Call, Target
from harness.errors import ConfigError, MissingExtra, TargetError, UsageError

ROOT = "http://127.0.0.1:1"
CALL = Call(id="id", messages=[{"role": "user", "content": "Hi"}], output_tokens=7, exact_output=True)


def made(kind: str, **keys: Any) -> Any:
    backend = registry.load("harness.backends", kind)
    return backend(backend.Params.model_validate({"kind": kind, **keys}))


def command(kind: str, launch: dict[str, Any], **keys: Any) -> list[str]:
    backend = made(kind, launch=launch, **keys)
    words, url = backend._words(backend.params.launch)
    return [word.replace(url.rpartition(":")[2].removesuffix("/v1"), "PORT") for word in words]


def body(backend: Any, **facts: Any) -> dict[str, Any]:
    target = Target(backend=backend.params.kind, url="", model="tiny", facts=facts)
    value: dict[str, Any] = json.loads(backend.dialect(target).encode(CALL))
    return value


def told(backend: Any, pages: dict[str, Any], *, prepare: bool = False) -> Target:
    """What is noted when the server has these pages; all others are 404."""

    def page(request: httpx.Request) -> httpx.Response:
        found = pages.get(f"{request.method} {request.url.path}", pages.get(request.url.path))
        if found is None:
            return httpx.Response(404)
        if isinstance(found, int):
            return httpx.Response(found)
        return httpx.Response(200, text=found) if isinstance(found, str) else httpx.Response(200, json=found)

    target = Target(backend=backend.params.kind, url=f"{ROOT}/v1", model="tiny")

    async def ask() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(page)) as client:
            await backend.describe(target, client, ROOT)
            if prepare:
                await backend.prepare(target, client, ROOT)

    asyncio.run(ask())
    return target


ADDRESS = ["--host", "127.0.0.1", "--port", "PORT"]


def test_vllm_command() -> None:
    assert command("vllm", {"model": "m"}, binary="/opt/vllm") == ["/opt/vllm", "serve", "m", *ADDRESS]
    words = command("vllm", {"model": "m", "args": ["--port", "81"]}, binary="vllm", model="tiny")
    assert words == ["vllm", "serve", "m", "--served-model-name", "tiny", "--port", "PORT"]
    words = command("vllm", {"model": "m", "args": ["--served-model-name", "x"]}, binary="vllm", model="tiny")
    assert words[:5] == ["vllm", "serve", "m", "--served-model-name", "x"]


def test_vllm_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(MissingExtra) as missing:
        command("vllm", {"model": "m"})
    assert "[vllm]" in missing.value.remedy
    (tmp_path / "vllm").touch()
    assert command("vllm", {"model": "m"})[0] == str(tmp_path / "vllm")
    assert made("vllm").environment()["VLLM_NO_USAGE_STATS"] == "1"


def test_vllm_fields() -> None:
    plain = body(made("vllm"))
    assert plain["stream_options"] == {"include_usage": True}
    assert plain["ignore_eos"] is True and "min_tokens" not in plain
    assert "return_token_ids" not in plain
    usage = body(made("vllm", tokens_per_event="usage"))
    assert usage["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}
    assert body(made("vllm", tokens_per_event="token_ids"))["return_token_ids"] is True
    assert "return_token_ids" not in body(made("vllm", tokens_per_event="token_ids", stream=False))
    assert body(made("vllm"), cache_salt="pepper")["cache_salt"] == "pepper"


PAGES = {
    "/version": {"version": "0.32.0"},
    "/v1/models": {"data": [{"id": "tiny", "max_model_len": 4096, "root": "m"}, {"id": "other", "max_model_len": 1}]},
    "/metrics": 'vllm:cache_config_info{block_size="16",engine="0",enable_prefix_caching="True"} 1.0\n',
}


def test_vllm_tells_of_itself() -> None:
    target = told(made("vllm"), PAGES)
    assert (target.engine, target.engine_version) == ("vllm", "0.32.0")
    facts = {"max_model_len": 4096, "root": "m", "block_size": "16", "enable_prefix_caching": "True"}
    assert target.facts == facts
    assert target.metrics_url == f"{ROOT}/metrics"
    assert target.abilities == {"prefix_cache_reset": False}


def test_vllm_behind_a_gateway_tells_nothing() -> None:
    target = told(made("vllm"), {}, prepare=True)
    assert (target.engine, target.engine_version, target.facts, target.metrics_url) == ("vllm", None, {}, None)


RESET = {**PAGES, "GET /reset_prefix_cache": 405, "POST /reset_prefix_cache": {"success": True}}


@pytest.mark.parametrize(("asked", "done"), [("auto", True), (True, True), (False, None)])
def test_vllm_prefix_cache_is_emptied(asked: Any, done: bool | None) -> None:
    target = told(made("vllm", cache_reset=asked, cache_salt=True), RESET, prepare=True)
    assert target.facts.get("cache_reset") is done
    assert len(target.facts["cache_salt"]) == 32


def test_vllm_prefix_cache_that_cannot_be_emptied() -> None:
    with pytest.raises(TargetError, match="HTTP 404") as error:
        told(made("vllm", cache_reset=True), PAGES, prepare=True)
    assert "VLLM_SERVER_DEV_MODE" in error.value.remedy


def test_looking_changes_nothing() -> None:
    assert "cache_reset" not in told(made("vllm"), RESET).facts


def test_llama_server_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    words = command("llamacpp", {"model": "m.gguf", "args": ["-np", "4"]}, binary="ls", model="tiny")
    assert words == ["ls", "--model", "m.gguf", "--metrics", "--alias", "tiny", "-np", "4", *ADDRESS]
    words = command("llamacpp", {"model": "/m/Llama-3.1-8B-Q4_K_M.gguf"}, binary="ls")
    assert words[4:6] == ["--alias", "Llama-3.1-8B-Q4_K_M"]
    monkeypatch.setenv("LLAMA_SERVER", "/opt/ls")
    assert command("llamacpp", {"model": "m.gguf", "args": ["-a", "x"]}, model="tiny")[:5] == [
        *("/opt/ls", "--model", "m.gguf", "--metrics", "-a")
    ]
    monkeypatch.delenv("LLAMA_SERVER")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="cannot find llama-server"):
        command("llamacpp", {"model": "m.gguf"})


def test_llama_cpp_python_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.backends.llamacpp.find_spec", lambda name: None)
    with pytest.raises(MissingExtra) as missing:
        command("llamacpp", {"model": "m.gguf"}, server="llama-cpp-python")
    assert "inference-harness[llamacpp]" in (missing.value.remedy or "")
    assert command("llamacpp", {"model": "m.gguf"}, server="llama-cpp-python", binary="py")[0] == "py"
    monkeypatch.setattr("harness.backends.llamacpp.find_spec", lambda name: name)
    words = command("llamacpp", {"model": "m.gguf"}, server="llama-cpp-python", model="tiny")
    server = [sys.executable, "-m", "llama_cpp.server", "--model", "m.gguf", "--model_alias", "tiny"]
    assert words == [*server, "--interrupt_requests", "false", *ADDRESS]
    backend = made("llamacpp", server="llama-cpp-python", url=f"{ROOT}/v1")
    assert (backend.health, backend.params.request_ids) == ("/v1/models", "uuid")
    target = told(backend, {"/props": {"build_info": "x"}}, prepare=True)
    assert (target.engine, target.engine_version) == ("llama-cpp-python", None)


def test_llamacpp_fields() -> None:
    plain = body(made("llamacpp"))
    assert plain["ignore_eos"] is True
    assert not {"min_tokens", "cache_prompt", "timings_per_token"} & set(plain)
    more = body(made("llamacpp", cache_prompt=False, tokens_per_event="timings"))
    assert (more["cache_prompt"], more["timings_per_token"]) == (False, True)


def test_llama_server_tells_of_itself() -> None:
    pages = {
        "/props": {"build_info": "b1-abc", "total_slots": 4, "default_generation_settings": {"n_ctx": 4096}},
        "/slots": [{"id": 0, "speculative": False}, {"id": 1, "speculative": True}],
        "/metrics": "llamacpp:n_decode_total 1\n",
    }
    target = told(made("llamacpp"), pages)
    assert (target.engine, target.engine_version) == ("llama-server", "b1-abc")
    assert target.facts == {"total_slots": 4, "slot_context": 4096, "speculative": True}
    assert target.metrics_url == f"{ROOT}/metrics"


def test_attaching_to_nothing_is_no_hang() -> None:
    with made("llamacpp", url=f"{ROOT}/v1").launch() as params:
        assert params.url == f"{ROOT}/v1"


@pytest.mark.parametrize("kind", ["vllm", "llamacpp", "openai"])
def test_neither_a_server_nor_one_to_start(kind: str) -> None:
    with pytest.raises(ConfigError, match="neither a url"), made(kind).launch():
        pass


def test_harness_cannot_guess_a_command() -> None:
    with pytest.raises(ConfigError, match="does not know how to start"):
        command("openai", {"model": "m"})
    assert command("openai", {"command": ["serve", "{port}"]}) == ["serve", "PORT"]
    with pytest.raises(ConfigError, match="reached by http"):
        command("openai", {"command": ["serve", "{port}"]}, url="https://host/v1")


def test_a_launched_engine_says_how_it_ended(tmp_path: Path) -> None:
    script = "import http.server, sys; print('on', flush=True)\n"
    script += "class H(http.server.BaseHTTPRequestHandler):\n"
    script += "    def do_GET(self):\n        self.send_response(200); self.end_headers()\n"
    script += "http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), H).serve_forever()\n"
    backend = made("openai", launch={"command": [sys.executable, "-c", script, "{port}"]})
    with backend.launch(tmp_path / "engine.log") as params:
        assert params.url.startswith("http://127.0.0.1:")
        assert backend.pid is not None
        assert backend.ended() is None
    words = backend.ended()
    assert words is not None and words.startswith("the server ended (")
    assert "on" in words.splitlines()
