"""Any endpoint that speaks the OpenAI dialect: chat completions or completions, streamed or not."""

from __future__ import annotations

from harness.backends.served import Served
from harness.config import BackendConfig


class OpenAI(Served):
    """An OpenAI-compatible endpoint that is up, or that `launch.command` starts."""

    class Params(BackendConfig):
        """Keys of `backend:` for kind `openai`."""

        kind: str = "openai"
