"""A small agent on the OpenAI SDK: it asks, runs the tools that the model wants, and goes on with what they gave.

    python tests/engines/agent_loop.py http://127.0.0.1:8100/v1

Two rounds of tools, then three searchers at once that read the agent's notes, each with a tool of its own, then a
report on what they found. A model that calls tools is taken at its word. One that cannot, such as one with random
weights, is given a JSON schema of the call instead (--no-calls): its answer, a choice of its own, is run just the same.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from openai import AsyncOpenAI

TOWNS = ["Oslo", "Rome", "Lima", "Cairo"]
ARGUMENTS = {
    "type": "object",
    "properties": {"town": {"type": "string", "enum": TOWNS}},
    "required": ["town"],
    "additionalProperties": False,
}
TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {"name": name, "description": f"Tells the {name} of a town, in words.", "parameters": ARGUMENTS},
    }
    for name in ("weather", "history", "traffic")
]
SCHEMA: Any = {"type": "json_schema", "json_schema": {"name": "call", "schema": ARGUMENTS, "strict": True}}


def run_tool(name: str, town: str) -> str:
    return (
        f"The {name} of {town}: " + "it is as the people there have known it for a long time, and so it will stay. " * 6
    )


def town_in(arguments: str) -> str:
    """The town in the arguments of a call; a model may well say none."""
    try:
        return str(json.loads(arguments)["town"])
    except (ValueError, KeyError, TypeError):
        return TOWNS[0]


class Agent:
    """One conversation. `calls` says whether the model calls tools by itself."""

    def __init__(self, client: AsyncOpenAI, task: str, *, calls: bool) -> None:
        self._client = client
        self._calls = calls
        self._talk: list[Any] = [
            {"role": "system", "content": "You are a careful agent who answers in few words. " * 12},
            {"role": "user", "content": task},
        ]

    async def step(self) -> None:
        """Ask once, run what is called for, and keep both."""
        more: dict[str, Any] = {} if self._calls else {"response_format": SCHEMA}
        text, called = await self._ask(tool_choice="auto", **more)
        if self._calls:
            assert called, "the model has called no tool"
            self._talk.append({"role": "assistant", "content": text or None, "tool_calls": called})
            for call in called:
                result = run_tool(call["function"]["name"], town_in(call["function"]["arguments"]))
                self._talk.append({"role": "tool", "tool_call_id": call["id"], "content": result})
            return
        town = town_in(text)
        self._talk += [
            {"role": "assistant", "content": text},
            {"role": "tool", "tool_call_id": "call", "content": run_tool("weather", town)},
        ]

    async def say(self, task: str = "") -> str:
        """An answer in words, to a last task if there is one."""
        if task:
            self._talk.append({"role": "user", "content": task})
        text, _ = await self._ask(tool_choice="none")
        self._talk.append({"role": "assistant", "content": text})
        return text

    async def _ask(self, **more: Any) -> tuple[str, list[dict[str, Any]]]:
        text, called = "", dict[int, dict[str, Any]]()
        stream = await self._client.chat.completions.create(
            model="tiny",
            messages=self._talk,
            tools=TOOLS,
            max_tokens=48,
            stream=True,
            stream_options={"include_usage": True},
            **more,
        )
        async for chunk in stream:
            for choice in chunk.choices:
                text += choice.delta.content or ""
                for part in choice.delta.tool_calls or ():
                    call = called.setdefault(
                        part.index, {"type": "function", "function": {"name": "", "arguments": ""}}
                    )
                    call["id"] = part.id or call.get("id")
                    if part.function is not None:
                        call["function"]["name"] += part.function.name or ""
                        call["function"]["arguments"] += part.function.arguments or ""
        return text, list(called.values())


async def search(client: AsyncOpenAI, number: int, notes: str, *, calls: bool) -> str:
    searcher = Agent(client, f"You are searcher {number}. Look into part {number} of these notes: {notes}", calls=calls)
    await searcher.step()
    return await searcher.say()


async def run(url: str, *, calls: bool = True) -> None:
    """The whole task, asked at `url`."""
    async with AsyncOpenAI(base_url=url, api_key="sk-never-to-be-seen", max_retries=0) as client:
        agent = Agent(client, "Find out how people live in these towns. " * 8, calls=calls)
        for _ in range(2):
            await agent.step()
            await asyncio.sleep(0.05)  # a tool that takes its time
        notes = await agent.say("Write down what you know.")
        found = await asyncio.gather(*(search(client, number, notes, calls=calls) for number in range(3)))
        await agent.say("Report on this:\n" + "\n".join(found))


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], calls="--no-calls" not in sys.argv))
