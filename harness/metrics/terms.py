"""What the run was asked to be, as far as its figures depend on it: read back from `experiment.yaml`.

Read as plain YAML, not as an `Experiment`: a run is told again on machines that lack the plug-in that made it.
"""

from __future__ import annotations

from typing import Any

import msgspec
import yaml

from harness.errors import ResultsError
from harness.records.folder import RunFolder
from harness.units import parse_duration, parse_rate, parse_share

_CAPS = ("requests_per_minute", "tokens_per_minute", "max_in_flight")


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """Durations in seconds, shares as fractions. `concurrency` makes a closed loop, `rate` an open one."""

    concurrency: int | None = None
    rate: float | None = None
    ramp_s: float = 0.0
    warmup_s: float = 0.0
    error_budget: float = 0.05
    exact_output: bool = False
    duration_s: float | None = None
    max_duration_s: float | None = None  # then the run is judged at one of three looks
    solo: int = 0  # sessions that were to be replayed alone
    capped: bool = False  # `limits` hold requests back on purpose
    retry: int = 0  # attempts at a request that the target was too busy for, beyond the first
    slo: tuple[str, ...] = ()
    gate: tuple[str, ...] = ()
    cost: dict[str, Any] | None = None
    telemetry: dict[str, Any] = {}

    @property
    def closed(self) -> bool:
        return self.concurrency is not None


def read_terms(folder: RunFolder) -> Terms:
    """The terms of a run.

    Raises:
        ResultsError: `experiment.yaml` is missing or cannot be read.
    """
    try:
        config = yaml.safe_load(folder.experiment.read_bytes())
        return terms_of(config)
    except OSError as error:
        raise ResultsError(f"cannot read {folder.experiment}: {error.strerror}") from error
    except (yaml.YAMLError, ValueError, TypeError, AttributeError) as error:
        raise ResultsError(f"{folder.experiment} is damaged: {error}") from error


def terms_of(config: dict[str, Any]) -> Terms:
    """The terms in a resolved config. Raises ValueError where a value has no meaning."""
    load = config.get("load") or {}
    limits = config.get("limits") or {}
    warmup = load.get("warmup", 0)
    rate = load.get("rate")
    return Terms(
        concurrency=load.get("concurrency"),
        rate=None if rate is None else parse_rate(rate),
        ramp_s=parse_duration(load.get("ramp", 0.0)),
        warmup_s=0.0 if isinstance(warmup, int) or str(warmup).isdigit() else parse_duration(warmup),
        error_budget=parse_share(load.get("error_budget", 0.05)),
        exact_output=bool((config.get("workload") or {}).get("exact_output", False)),
        solo=int(load.get("solo") or 0),
        duration_s=_duration(load.get("duration")),
        max_duration_s=_duration(load.get("max_duration")),
        capped=any(limits.get(name) is not None for name in _CAPS),
        retry=int(limits.get("retry") or 0),
        slo=tuple(config.get("slo") or ()),
        gate=tuple(config.get("gate") or ()),
        cost=config.get("cost"),
        telemetry=config.get("telemetry") or {},
    )


def _duration(value: Any) -> float | None:
    return None if value is None else parse_duration(value)
