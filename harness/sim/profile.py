"""A profile: one model on one machine, as numbers. A small YAML file in `configs/profiles`, or anywhere.

Every figure is written `{value: ..., source: ...}` or plainly; the source is for people and is not read here.
Times are durations (`22ms`) and become seconds; shares are fractions.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any

import msgspec

from harness import assets
from harness.errors import ConfigError, UsageError
from harness.sim.faults import Faults
from harness.units import parse_duration

Positive = Annotated[int, msgspec.Meta(ge=1)]
Time = Annotated[float, msgspec.Meta(ge=0)]
Probability = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Scheduler(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Limits of a step and of a request."""

    max_num_seqs: Positive = 256
    max_num_batched_tokens: Positive = 8192
    max_model_len: Positive = 32_768


class Cache(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The KV cache: `num_blocks` blocks of `block_size` tokens."""

    block_size: Positive = 16
    num_blocks: Positive = 16_384
    prefix_caching: bool = True


class StepTime(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The terms of the step time in seconds (see `engine`), and the sigma of its lognormal jitter."""

    base: Time = 0.0
    prefill_token: Time = 0.0
    decode_sequence: Time = 0.0
    context_token: Time = 0.0
    jitter: Annotated[float, msgspec.Meta(ge=0, le=2)] = 0.0


class Habits(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How the model answers.

    Attributes:
        median, sigma, max: lognormal length in tokens where the client sets no limit.
        eos: probability that the answer ends after any one token, though the client allows more.
        reasoning: share of an answer that is sent first, as `reasoning_content`.
        tool_calls: answer with a tool call where the request offers tools.
    """

    median: Annotated[float, msgspec.Meta(ge=1)] = 200.0
    sigma: Annotated[float, msgspec.Meta(ge=0)] = 0.9
    max: Positive = 2000
    eos: Probability = 0.0
    reasoning: Probability = 0.0
    tool_calls: bool = False


class Profile(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A simulated engine and its model. `note` tells people what it stands for."""

    name: str
    model: str
    note: str = ""
    scheduler: Scheduler = Scheduler()
    cache: Cache = Cache()
    step: StepTime = StepTime()
    answer: Habits = Habits()
    faults: Faults = Faults()

    def __post_init__(self) -> None:
        room = self.cache.block_size * self.cache.num_blocks
        if self.scheduler.max_model_len > room:
            raise ValueError(
                f"max_model_len is {self.scheduler.max_model_len}, but the cache holds {room} tokens: "
                "a request of full length could never run"
            )


def load(name: str) -> Profile:
    """The profile of that name, or in the YAML file of that path.

    Raises:
        UsageError: there is none; the message names the nearest.
        ConfigError: the file is not a profile.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else assets.find(f"profiles/{name}.yaml")
    if path is None or not path.is_file():
        known = names()
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(known)}, or the path of a YAML file."
        raise UsageError(f"unknown profile '{name}'. {hint}")
    return parse(path.read_text(encoding="utf-8"), source=str(path))


def names() -> list[str]:
    """The profiles that travel with the package, sorted."""
    return sorted(path.stem for path in (assets.root() / "profiles").glob("*.yaml"))


def parse(text: str, *, source: str = "profile") -> Profile:
    """A profile from YAML text.

    Raises:
        ConfigError: it is not valid; names the place.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        tree = _plain(yaml.load(text, Loader=loader))
        step = tree.get("step") if isinstance(tree, dict) else None
        if isinstance(step, dict):
            for key in step.keys() - {"jitter"}:
                step[key] = parse_duration(step[key])
        return msgspec.convert(tree, Profile)
    except yaml.YAMLError as error:
        raise ConfigError("", f"not YAML: {' '.join(str(error).split())}", source=source) from error
    except (msgspec.ValidationError, ValueError, TypeError) as error:
        raise ConfigError("", str(error), source=source) from error


def _plain(tree: Any) -> Any:
    """The tree without sources: `{value: 22ms, source: ...}` becomes `22ms`."""
    if isinstance(tree, dict):
        if tree.keys() <= {"value", "source"} and "value" in tree:
            return tree["value"]
        return {key: _plain(value) for key, value in tree.items()}
    return tree
