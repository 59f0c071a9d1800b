"""Writing requests in the OpenAI dialect, for everybody who speaks it with small differences."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from harness.backends.openai_stream import OpenAIDecoder
from harness.backends.protocol import Call, Decoder
from harness.config import BackendConfig

_write = msgspec.json.Encoder().encode
PLANNED = "planned"  # stands for the planned number of output tokens


@dataclass(frozen=True, kw_only=True)
class Fields:
    """What a server wants to be told, where servers differ.

    Attributes:
        usage: asked for token counts in the stream, or {} where the server refuses or tells them anyway.
        exact: fields that force the planned output length; `PLANNED` stands for it.
        limit: the field that limits the output length.
        extra: optional fields of every request. A user's `body` goes over them.
        query: after the path, e.g. `?api-version=1`.
    """

    usage: dict[str, Any] = field(default_factory=lambda: {"stream_options": {"include_usage": True}})
    exact: dict[str, Any] = field(default_factory=lambda: {"ignore_eos": True, "min_tokens": PLANNED})
    limit: str = "max_tokens"
    extra: dict[str, Any] = field(default_factory=dict)
    query: str = ""


class OpenAIDialect:
    """How requests are written in the OpenAI dialect. See `harness.backends.protocol.Dialect`."""

    name = "openai"

    def __init__(
        self, params: BackendConfig, model: str, *, strict: bool = False, fields: Fields | None = None
    ) -> None:
        self._params = params
        self._model = model
        self._strict = strict
        self._fields = fields = fields or Fields()
        self.stream = params.stream
        self.path = ("/chat/completions" if params.api == "chat" else "/completions") + fields.query
        self._fixed: dict[str, Any] = {"stream": True} if params.stream else {}
        if not strict:
            self._fixed |= (fields.usage if params.stream else {}) | fields.extra
        self._fixed |= params.body
        if not params.stream:
            self._fixed.pop("stream_options", None)  # servers refuse it where nothing is streamed

    def encode(self, call: Call) -> bytes:
        body: dict[str, Any] = {"model": call.model or self._model}
        if self._params.api == "chat":
            body["messages"] = call.messages
        else:
            body["prompt"] = "\n".join(message["content"] for message in call.messages)
        body[self._fields.limit] = call.output_tokens
        if call.exact_output and not self._strict:
            exact = self._fields.exact
            body |= {name: call.output_tokens if value == PLANNED else value for name, value in exact.items()}
        body |= self._fixed
        return _write(body)

    def decoder(self) -> Decoder:
        return OpenAIDecoder()
