"""mix: several workloads in one run, each session of one of them."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from harness import registry
from harness.config.experiment import WorkloadConfig, by_kind
from harness.workloads.draws import draws
from harness.workloads.session import Noted, Session, Workload

_RUN_WIDE = ("exact_output", "nonce", "context")
_STEP = 0x9E3779B97F4A7C15  # 2^64 / golden ratio: seeds of neighbours lie far apart

_Item = Annotated[
    SerializeAsAny[WorkloadConfig], BeforeValidator(lambda item: by_kind("harness.workloads", item, "chat"))
]


class Mix:
    """Which workload a session is of is drawn by weight, from (seed, index) alone."""

    class Params(WorkloadConfig):
        """Keys of `workload:` for kind `mix`; `workload: [...]` is short for `{kind: mix, of: [...]}`."""

        kind: str = "mix"
        of: list[_Item] = Field(
            min_length=1, description="The workloads, each with its `weight`; `workload: [...]` is short for this"
        )

        @model_validator(mode="before")
        @classmethod
        def _agreed(cls, data: Any) -> Any:
            """How answers are asked for is one thing for the whole run: what all items say is moved up."""
            items = data.get("of") if isinstance(data, dict) else None
            if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
                return data
            for key in _RUN_WIDE:
                default = data.get(key, WorkloadConfig.model_fields[key].default)
                said = [item.get(key, default) for item in items]
                if any(value != said[0] for value in said):
                    raise ValueError(f"{key} must be the same in all items of a mix")
                data = {**data, key: said[0]} if said else data
            return data

    def __init__(self, params: Params) -> None:
        self.workloads: list[Workload] = [registry.load("harness.workloads", item.kind)(item) for item in params.of]
        self._edges = list(accumulate(item.weight or 1.0 for item in params.of))

    def session(self, seed: int, index: int) -> Session:
        """The session of this index. Pure; see `Workload`."""
        drawn = draws(_seed(seed, -1), index).random() * self._edges[-1]
        place = min(bisect_right(self._edges, drawn), len(self._edges) - 1)
        return self.workloads[place].session(_seed(seed, place), index)

    def notes(self) -> list[str]:
        """What the workloads have to tell."""
        return [note for workload in self.workloads if isinstance(workload, Noted) for note in workload.notes()]


def _seed(seed: int, place: int) -> int:
    """A seed of its own for each workload: none shares texts or luck with another. The first keeps the run's."""
    return (seed + place * _STEP) % 2**63
