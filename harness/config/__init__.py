"""Room: YAML -> a validated `Experiment`.

`load` and `resolved` are in `harness.config.load`, distributions in `harness.config.distribution`, what is
behind secret references in `harness.config.references`.
"""

from harness.config.cost import Cost
from harness.config.experiment import (
    BackendConfig,
    Experiment,
    Launch,
    Limits,
    LoadConfig,
    TelemetryConfig,
    WorkloadConfig,
)
from harness.config.section import Duration, Rate, Section, Share, Tokens

__all__ = [
    "BackendConfig",
    "Cost",
    "Duration",
    "Experiment",
    "Launch",
    "Limits",
    "LoadConfig",
    "Rate",
    "Section",
    "Share",
    "TelemetryConfig",
    "Tokens",
    "WorkloadConfig",
]
