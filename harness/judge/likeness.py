"""Whether two runs can be compared at all, and what else differs between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from harness.asked import PLANNED_LOAD
from harness.judge.subject import Subject

_OWN = ("name", "seed", "sweep", "slo", "gate")  # of the experiment: these change no measurement
_MACHINE = ("processor", "cores", "memory_bytes", "system", "python")
_ENGINE = ("engine", "engine_version", "model", "backend")
_LONGEST = 160  # characters of a value


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """`where` is config, engine, machine or harness; a value is None where it is not set or not known."""

    where: str
    what: str
    base: Any = None
    other: Any = None

    def told(self) -> str:
        return f"{self.where} · {self.what}: {_word(self.base)} → {_word(self.other)}"

    def of_base(self) -> str:
        """What the base has where the other has something else."""
        return f"{self.what} {_word(self.base)}"


def kind_of_load(subject: Subject) -> str | None:
    """`open` or `closed`; None where the config is not known."""
    load = subject.facts.config.get("load")
    if not isinstance(load, Mapping):
        return None
    return "closed" if load.get("concurrency") is not None else "open"


def unlike_loads(base: Subject, other: Subject) -> list[Difference]:
    """What makes the loads of two runs different. Empty: the same load, though perhaps by another seed; or not known,
    where one is another tool's."""
    if base.facts.foreign or other.facts.foreign:
        return []
    ours, theirs = base.summary.run, other.summary.run
    if ours.plan_sha256 and ours.plan_sha256 == theirs.plan_sha256:
        return []
    if not base.facts.config or not other.facts.config:
        return [
            Difference(where="config", what="load", base=ours.plan_sha256 or None, other=theirs.plan_sha256 or None)
        ]
    found = between_loads(base.facts.config, other.facts.config)
    same_seed = ours.seed == theirs.seed and ours.plan_sha256 and theirs.plan_sha256
    if not found and same_seed:  # a trace whose content changed, or a workload made by another version
        found.append(Difference(where="config", what="plan", base=ours.plan_sha256[:12], other=theirs.plan_sha256[:12]))
    return found


def differences(base: Subject, other: Subject) -> list[Difference]:
    """Everything that differs in config, engine, machine and harness, but for the address of the server."""
    config = (base.facts.config, other.facts.config)
    engine = ({key: getattr(side.summary.target, key) for key in _ENGINE} for side in (base, other))
    machine = ({key: side.facts.machine.get(key) for key in _MACHINE} for side in (base, other))
    own = ({"version": side.facts.harness_version or None} for side in (base, other))
    found = between_configs(*config) if all(config) else []
    for where, (ours, theirs) in (("engine", tuple(engine)), ("machine", tuple(machine)), ("harness", tuple(own))):
        if any(ours.values()) and any(theirs.values()):
            found += _between(ours, theirs, where)
    return found


def between_loads(base: Mapping[str, Any], other: Mapping[str, Any]) -> list[Difference]:
    """What two resolved configs ask differently: workload and planned load, but not the seed."""
    return list(_between(_load_of(base), _load_of(other), "config"))


def between_configs(base: Mapping[str, Any], other: Mapping[str, Any]) -> list[Difference]:
    """What else differs between two resolved configs, but for names, seeds, limits and the server's address."""
    return list(_between(_shown(base), _shown(other), "config"))


def _load_of(config: Mapping[str, Any]) -> dict[str, Any]:
    load = config.get("load") or {}
    return {"workload": config.get("workload"), "load": {key: load[key] for key in PLANNED_LOAD if key in load}}


def _shown(config: Mapping[str, Any]) -> dict[str, Any]:
    shown = {key: value for key, value in config.items() if key not in _OWN}
    if isinstance(shown.get("backend"), Mapping):
        shown["backend"] = {key: value for key, value in shown["backend"].items() if key not in ("url", "truth")}
    return shown


def _between(ours: Any, theirs: Any, where: str, path: str = "") -> Iterator[Difference]:
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        for key in [*ours, *(key for key in theirs if key not in ours)]:
            yield from _between(ours.get(key), theirs.get(key), where, f"{path}.{key}" if path else str(key))
    elif ours != theirs:
        yield Difference(where=where, what=path, base=ours, other=theirs)


def _word(value: Any) -> str:
    if value is None:
        return "not set"
    told = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return told if len(told) <= _LONGEST else f"{told[: _LONGEST - 1]}…"
