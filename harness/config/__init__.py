"""Room: YAML -> a validated `Experiment`."""

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
    "WorkloadConfig",
]
