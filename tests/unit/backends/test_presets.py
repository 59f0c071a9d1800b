"""What each preset changes, and nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import msgspec
import pytest
from pydantic import ValidationError

from harness import registry
from harness.backends.presets import AZURE, GROQ, LMDEPLOY, OLLAMA, TGI, TRANSFORMERS, Preset
from harness.backends.protocol import Call, Describes, Launches, Target
from harness.errors import ConfigError

KINDS = [
    kind for kind in registry.names("harness.backends") if isinstance(registry.load("harness.backends", kind), Preset)
]
CALL = Call(id="id", messages=[{"role": "user", "content": "Hi"}], output_tokens=7, exact_output=True)
USAGE = {"stream_options": {"include_usage": True}}
TOLD: dict[str, dict[str, Any]] = {
    "sglang": {"max_tokens": 7, "ignore_eos": True, "min_tokens": 7, **USAGE},
    "trtllm": {"max_tokens": 7, "ignore_eos": True, "min_tokens": 7, **USAGE},
    "mlc": {"max_tokens": 7, **USAGE},
    "ollama": {"max_tokens": 7, **USAGE},
    "transformers": {"max_tokens": 7},
    "lmdeploy": {"max_tokens": 7, "ignore_eos": True, **USAGE},
    "tgi": {"max_tokens": 7, **USAGE},
    "litellm": {"max_tokens": 7, **USAGE},
    "together": {"max_tokens": 7, **USAGE},
    "fireworks": {"max_tokens": 7, "ignore_eos": True, **USAGE},
    "groq": {"max_completion_tokens": 7, **USAGE},
    "cerebras": {"max_completion_tokens": 7},
    "openrouter": {"max_tokens": 7, **USAGE},
    "azure": {"max_completion_tokens": 7, **USAGE},
    "bedrock": {"max_completion_tokens": 7, **USAGE},
    "vertex": {"max_tokens": 7, **USAGE},
}


def params_of(preset: Preset, **keys: Any) -> Any:
    return preset.Params.model_validate({"kind": preset.kind, **keys})


def made(kind: str, **keys: Any) -> Any:
    preset = registry.load("harness.backends", kind)
    return preset(params_of(preset, url="http://127.0.0.1:1/v1", **keys))


def target(kind: str, **fields: Any) -> Target:
    return Target(backend=kind, url="http://127.0.0.1:1/v1", model="tiny", **fields)


def test_every_preset_is_told_of() -> None:
    assert set(KINDS) == set(TOLD)


@pytest.mark.parametrize("kind", TOLD)
def test_what_it_is_told(kind: str) -> None:
    body = msgspec.json.decode(made(kind).dialect(target(kind)).encode(CALL))
    assert body == {"model": "tiny", "messages": CALL.messages, "stream": True, **TOLD[kind]}


@pytest.mark.parametrize("kind", TOLD)
def test_it_is_a_backend_of_ours(kind: str) -> None:
    backend = made(kind)
    assert isinstance(backend, Launches) and isinstance(backend, Describes)
    assert (backend.pid, backend.ended()) == (None, None)
    with backend.launch() as params:
        assert params.url == "http://127.0.0.1:1/v1"


def test_the_usual_key_goes_to_the_usual_url_only() -> None:
    assert (params_of(GROQ).url, params_of(GROQ).api_key) == ("https://api.groq.com/openai/v1", "env:GROQ_API_KEY")
    assert params_of(GROQ, api_key="env:OTHER").api_key == "env:OTHER"
    assert params_of(GROQ, url="http://127.0.0.1:1/v1").api_key is None


def test_a_url_is_asked_for_where_there_is_no_usual_one() -> None:
    with pytest.raises(ValidationError, match="azure needs a url"):
        params_of(AZURE)


def test_azure_has_its_own_header_and_query() -> None:
    params = params_of(
        AZURE, url="https://r.openai.azure.com/openai/deployments/d", api_key="env:KEY", api_version="1-x"
    )
    assert (params.api_key, params.headers) == (None, {"api-key": "env:KEY"})
    assert AZURE(params).dialect(target("azure")).path == "/chat/completions?api-version=1-x"
    assert made("azure").dialect(target("azure")).path == "/chat/completions"
    with pytest.raises(ValidationError):
        params_of(AZURE, url="https://r/v1", api_version="1&x=y")


def test_somebody_else_s_server_cannot_be_launched() -> None:
    with pytest.raises(ValidationError, match="somebody else's server"):
        params_of(GROQ, launch={"model": "m"})


def words(preset: Preset, **launch: Any) -> list[str]:
    backend = preset(params_of(preset, launch={"model": "m", **launch}))
    found, url = backend._words(backend.params.launch)
    assert url.startswith("http://127.0.0.1:") and url.endswith("/v1")
    port = url.removeprefix("http://127.0.0.1:").removesuffix("/v1")
    return [word.replace(port, "PORT") for word in found]


def test_how_they_are_started() -> None:
    address = ["--host", "127.0.0.1", "--port", "PORT"]
    assert words(TRANSFORMERS) == ["transformers", "serve", "m", *address]
    assert words(LMDEPLOY)[-4:] == ["--server-name", "127.0.0.1", "--server-port", "PORT"]
    assert words(TGI, args=["--hostname", "::1"])[-4:] == ["--hostname", "::1", "--port", "PORT"]
    assert words(OLLAMA) == ["env", "OLLAMA_HOST=127.0.0.1:PORT", "ollama", "serve"]
    assert words(TGI, command=["tgi", "--port", "{port}"]) == ["tgi", "--port", "PORT"]


def test_the_words_must_make_sense() -> None:
    with pytest.raises(ConfigError, match=r"has no \{port\}"):
        words(TGI, command=["tgi"])
    with pytest.raises(ConfigError, match="which model"):
        words(TGI, model=None)


def test_requests_name_the_model_as_the_command_does() -> None:
    params = params_of(TRANSFORMERS, launch={"model": "/models/m"})
    assert TRANSFORMERS(params).params.model == "/models/m"


@pytest.mark.parametrize(("status", "version"), [(200, "0.9.1"), (404, None)])
def test_the_version_is_asked_for(status: int, version: str | None) -> None:
    def page(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/api/version"
        return httpx.Response(status, json={"version": "0.9.1"})

    found = target("ollama")

    async def ask() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(page)) as client:
            await made("ollama").describe(found, client, "http://127.0.0.1:1")
            await made("ollama").prepare(found, client, "http://127.0.0.1:1")

    asyncio.run(ask())
    assert (found.engine, found.engine_version) == ("ollama", version)
