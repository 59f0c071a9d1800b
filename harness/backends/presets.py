"""Servers and hosted endpoints that speak the OpenAI dialect with small differences: one entry each, no more.

An entry carries only what differs: where it is, which key it takes and in which header, which fields it knows, how
it is started. What its streams look like is the business of the one decoder of the dialect. `docs` names the page
where its makers describe it; docs/engines.md tells what each was checked against. Of these servers only
`transformers serve` is run by our tests. Where a server refuses an optional field all the same, it is asked again
without.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, create_model, model_validator

from harness.backends.openai_dialect import PLANNED, Fields
from harness.backends.protocol import Target
from harness.backends.served import Served
from harness.config import BackendConfig
from harness.config.experiment import Launch

if TYPE_CHECKING:
    import httpx

_NOTHING_EXACT = Fields(exact={})
_COMPLETION_TOKENS = Fields(exact={}, limit="max_completion_tokens")
_IGNORE_EOS = Fields(exact={"ignore_eos": True})
_MIN_TOKENS = Fields(exact={"ignore_eos": True, "min_tokens": PLANNED})


@dataclass(frozen=True, kw_only=True)
class Preset:
    """One server or endpoint. Registered under its `kind`; called with params, it is a backend.

    Attributes:
        name: as people know it.
        docs: the page that describes its API.
        url: its usual base URL; None where there is none, and the config must have it.
        key: environment variable of the key for `url`, where there is one and it wants a key.
        header: that carries the key; empty for the usual `Authorization: Bearer`.
        fields: what it wants to be told; by default, nothing that forces a length.
        command: how its server is started; empty where harness cannot.
        health: the page that answers 200 when it is ready, below the root.
        host_option, port_option: how the command is told where to listen.
        version: the page, below the root, whose JSON has a `version`; empty where there is none.
        same_model: requests must name the model as the command does.
        queried: the URL of a request ends in `?api-version=`.
    """

    kind: str
    name: str
    docs: str
    url: str | None = None
    key: str | None = None
    header: str = ""
    fields: Fields = _NOTHING_EXACT
    command: tuple[str, ...] = ()
    health: str = "/health"
    host_option: str = "--host"
    port_option: str = "--port"
    version: str = ""
    same_model: bool = False
    queried: bool = False

    @cached_property
    def Params(self) -> type[PresetParams]:
        """Keys of `backend:` for this kind."""
        of_kind: Any = {"kind": (str, self.kind)}
        if self.queried:
            described = "Sent as ?api-version=...; leave it out for the v1 API"
            of_kind["api_version"] = (str | None, Field(None, pattern=r"^[\w.-]+$", description=described))
        made: type[PresetParams] = create_model(
            f"{self.kind.title()}Params",
            __base__=PresetParams,
            __doc__=f"Keys of `backend:` for kind `{self.kind}`: {self.name}.",
            **of_kind,
        )
        made.preset = self
        return made

    def completed(self, data: Any) -> Any:
        """The section with the usual URL and key, and with the key in the header where it belongs.

        What has the wrong shape stays as it is, for pydantic to refuse.
        """
        if not isinstance(data, dict):
            return data
        data = dict(data)
        launch, headers = data.get("launch"), data.get("headers") or {}
        if data.get("url") is None and launch is None:
            if self.url is None:
                raise ValueError(f"kind {self.kind} needs a url; what it looks like: {self.docs}")
            data["url"] = self.url
            if self.key is not None:  # the key is for that URL and for no other
                data.setdefault("api_key", f"env:{self.key}")
        if isinstance(launch, dict) and not (self.command or launch.get("command")):
            raise ValueError(f"kind {self.kind} is somebody else's server: it cannot be launched")
        if self.header and isinstance(data.get("api_key"), str) and isinstance(headers, dict):
            data["headers"] = {self.header: data.pop("api_key"), **headers}
        return data

    def __call__(self, params: Any) -> _Backend:
        return _Backend(params, self)


class PresetParams(BackendConfig):
    """What the section of a preset has beside the keys of every backend: nothing but what is filled in."""

    preset: ClassVar[Preset]

    @model_validator(mode="before")
    @classmethod
    def _completed(cls, data: Any) -> Any:
        return cls.preset.completed(data)


class _Backend(Served):
    """The backend of a preset."""

    def __init__(self, params: Any, preset: Preset) -> None:
        super().__init__(params)
        self._preset = preset
        self.name = preset.name
        self.health = preset.health
        self.host_option = preset.host_option
        self.port_option = preset.port_option
        asked = params.launch
        if preset.same_model and asked is not None and params.model is None:
            self.params = params.model_copy(update={"model": asked.model})

    def command(self, launch_: Launch) -> list[str]:
        return [sys.executable if word == "{python}" else word for word in self._preset.command]

    def fields(self, target: Target) -> Fields:
        preset = self._preset
        version = self.params.api_version if preset.queried else None
        return replace(preset.fields, query=f"?api-version={version}") if version else preset.fields

    async def describe(self, target: Target, client: httpx.AsyncClient, root: str) -> None:
        """The version, where the server has a page for it."""
        target.engine = self._preset.kind
        if self._preset.version:
            page = await client.get(root + self._preset.version)
            told = page.json() if page.status_code == 200 else None
            if isinstance(told, dict) and isinstance(told.get("version"), str):
                target.engine_version = told["version"]

    async def prepare(self, target: Target, client: httpx.AsyncClient, root: str) -> None:
        """Nothing: the nonce of a run keeps its prompts out of caches."""


# -- servers of one's own

SGLANG = Preset(
    kind="sglang",
    name="SGLang",
    docs="https://docs.sglang.ai/",
    url="http://127.0.0.1:30000/v1",
    fields=_MIN_TOKENS,
    command=("{python}", "-m", "sglang.launch_server", "--model-path", "{model}"),
)
TRTLLM = Preset(
    kind="trtllm",
    name="trtllm-serve",
    docs="https://nvidia.github.io/TensorRT-LLM/commands/trtllm-serve/trtllm-serve.html",
    url="http://127.0.0.1:8000/v1",
    fields=_MIN_TOKENS,
    command=("trtllm-serve", "{model}"),
    version="/version",
)
MLC = Preset(
    kind="mlc",
    name="MLC LLM",
    docs="https://llm.mlc.ai/docs/deploy/rest.html",
    url="http://127.0.0.1:8000/v1",
    command=("mlc_llm", "serve", "{model}"),
    health="/v1/models",
)
OLLAMA = Preset(
    kind="ollama",
    name="Ollama",
    docs="https://docs.ollama.com/api/openai-compatibility",
    url="http://127.0.0.1:11434/v1",
    command=("env", "OLLAMA_HOST={host}:{port}", "ollama", "serve"),
    health="/api/version",
    version="/api/version",
)
TRANSFORMERS = Preset(
    kind="transformers",
    name="transformers serve",
    docs="https://huggingface.co/docs/transformers/main/serving",
    url="http://127.0.0.1:8000/v1",
    fields=Fields(usage={}, exact={}),  # it tells its counts unasked, and refuses what it does not know
    command=("transformers", "serve", "{model}"),
    same_model=True,
)
LMDEPLOY = Preset(
    kind="lmdeploy",
    name="LMDeploy",
    docs="https://lmdeploy.readthedocs.io/en/latest/llm/api_server.html",
    url="http://127.0.0.1:23333/v1",
    fields=_IGNORE_EOS,
    command=("lmdeploy", "serve", "api_server", "{model}"),
    host_option="--server-name",
    port_option="--server-port",
)
TGI = Preset(
    kind="tgi",
    name="Text Generation Inference",
    docs="https://huggingface.co/docs/text-generation-inference/messages_api",
    url="http://127.0.0.1:3000/v1",
    command=("text-generation-launcher", "--model-id", "{model}"),
    host_option="--hostname",
    version="/info",
)
LITELLM = Preset(
    kind="litellm",
    name="LiteLLM proxy",
    docs="https://docs.litellm.ai/docs/simple_proxy",
    url="http://127.0.0.1:4000/v1",
    command=("litellm", "--model", "{model}"),
    health="/health/liveliness",
)

# -- hosted endpoints

TOGETHER = Preset(
    kind="together",
    name="Together AI",
    docs="https://docs.together.ai/reference/chat-completions-1",
    url="https://api.together.xyz/v1",
    key="TOGETHER_API_KEY",
)
FIREWORKS = Preset(
    kind="fireworks",
    name="Fireworks AI",
    docs="https://docs.fireworks.ai/api-reference/post-chatcompletions",
    url="https://api.fireworks.ai/inference/v1",
    key="FIREWORKS_API_KEY",
    fields=_IGNORE_EOS,
)
GROQ = Preset(
    kind="groq",
    name="Groq",
    docs="https://console.groq.com/docs/api-reference",
    url="https://api.groq.com/openai/v1",
    key="GROQ_API_KEY",
    fields=_COMPLETION_TOKENS,
)
CEREBRAS = Preset(
    kind="cerebras",
    name="Cerebras",
    docs="https://inference-docs.cerebras.ai/api-reference/chat-completions",
    url="https://api.cerebras.ai/v1",
    key="CEREBRAS_API_KEY",
    fields=Fields(usage={}, exact={}, limit="max_completion_tokens"),  # it tells its counts unasked
)
OPENROUTER = Preset(
    kind="openrouter",
    name="OpenRouter",
    docs="https://openrouter.ai/docs/api-reference/overview",
    url="https://openrouter.ai/api/v1",
    key="OPENROUTER_API_KEY",
)
AZURE = Preset(
    kind="azure",
    name="Azure OpenAI",
    docs="https://learn.microsoft.com/azure/ai-services/openai/reference (https://RESOURCE.openai.azure.com/openai/v1,"
    " or .../openai/deployments/DEPLOYMENT with api_version)",
    header="api-key",
    fields=_COMPLETION_TOKENS,
    queried=True,
)
BEDROCK = Preset(
    kind="bedrock",
    name="Amazon Bedrock",
    docs="https://docs.aws.amazon.com/bedrock/latest/userguide/inference-chat-completions.html"
    " (https://bedrock-mantle.REGION.api.aws/v1, or https://bedrock-runtime.REGION.amazonaws.com/openai/v1)",
    fields=_COMPLETION_TOKENS,
)
VERTEX = Preset(
    kind="vertex",
    name="Vertex AI",
    docs="https://cloud.google.com/vertex-ai/generative-ai/docs/start/openai"
    " (https://REGION-aiplatform.googleapis.com/v1/projects/PROJECT/locations/REGION/endpoints/openapi)",
)
