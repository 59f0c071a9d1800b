"""Any endpoint that speaks the OpenAI dialect: chat completions or completions, streamed or not."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.backends.openai_dialect import Fields
from harness.backends.protocol import Target
from harness.backends.served import Served
from harness.config import BackendConfig


class OpenAI(Served):
    """An OpenAI-compatible endpoint that is up, or that `launch.command` starts."""

    class Params(BackendConfig):
        """Keys of `backend:` for kind `openai`."""

        kind: str = "openai"
        request_ids: Literal[True, False, "uuid"] = Field(
            True, description="Send each request's id as x-request-id: true; as a UUID: uuid; or not at all: false"
        )
        output_limit: Literal["max_tokens", "max_completion_tokens"] = Field(
            "max_tokens",
            description="The field that limits an answer's length; OpenAI's own models want the second",
        )

    def fields(self, target: Target) -> Fields:
        return Fields(limit=self.params.output_limit)
