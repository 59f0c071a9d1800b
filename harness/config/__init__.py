"""Room: YAML -> a validated `Experiment`.

`load` and `resolved` are in `harness.config.load`, distributions in `harness.config.distribution`, what is
behind secret references in `harness.config.references`.
"""

from harness.config.experiment import (
    BackendConfig,
    Cost,
    Duration,
    Experiment,
    Launch,
    Limits,
    LoadConfig,
    Rate,
    Section,
    Share,
    TelemetryConfig,
    Tokens,
    WorkloadConfig,
)

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
