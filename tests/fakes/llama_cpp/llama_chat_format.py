from __future__ import annotations

from types import SimpleNamespace
from typing import Any


class Jinja2ChatFormatter:
    def __init__(self, template: str, eos_token: str, bos_token: str) -> None:
        self.eos_token = eos_token

    def __call__(self, *, messages: list[dict[str, Any]]) -> SimpleNamespace:
        said = "".join(f"{message['role']}:{message['content']}{self.eos_token}" for message in messages)
        return SimpleNamespace(prompt=said, added_special=True)
