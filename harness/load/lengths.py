"""How long our words are in the target's tokens: asked of the server before the load, so that prompts fit the plan.

Tiny prompts tell the overhead of a prompt and of a message, and the tokens of a word on average. Where words are of
different lengths and the engine has a `/tokenize`, it tells the length of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import httpx

from harness.backends.protocol import Call, Target
from harness.workloads.text import CENSUS, PROBES, TextCalibration, costs, fit


def questions(attempt: int) -> list[Call]:
    """The prompts whose tokens the server is to count, as calls whose answers do not matter."""
    return [
        Call(
            id=f"probe-{attempt}-{number}",
            messages=[
                {"role": "assistant" if place % 2 else "user", "content": content}
                for place, content in enumerate(contents)
            ],
            output_tokens=1,
        )
        for number, contents in enumerate(PROBES, 1)
    ]


async def lengths(
    counted: Sequence[int | None], target: Target, client: httpx.AsyncClient, root: str
) -> TextCalibration:
    """The calibration, out of the tokens of each question (None: not told). Assumed where the server does not count, or
    counts oddly: a finding of the run tells."""
    told = [(contents, tokens) for contents, tokens in zip(PROBES, counted, strict=True) if tokens is not None]
    try:
        fitted = fit(told)
    except ValueError:
        return TextCalibration()
    if abs(fitted.b - 1) < 1 / len(CENSUS):
        return fitted  # every word is one token
    with suppress(httpx.HTTPError, ValueError, KeyError, TypeError):
        return fit(told, await _census(target, client, root))
    return fitted


async def _census(target: Target, client: httpx.AsyncClient, root: str) -> str:
    """What the engine's `/tokenize` says of each word: llama.cpp takes `content`, vLLM and others `prompt`."""
    asked: dict[str, Any] = {"model": target.model, "prompt": CENSUS, "content": CENSUS}
    asked |= {"add_special": False, "add_special_tokens": False}
    answer = await client.post(f"{root}/tokenize", json=asked)
    return costs(answer.json()["tokens"]) if answer.status_code == httpx.codes.OK else ""
