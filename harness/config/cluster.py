"""A cluster that workers are placed on."""

from __future__ import annotations

from pydantic import Field, field_validator

from harness.config.section import Duration, Section


class RayCluster(Section):
    """A Ray cluster, and what each worker takes of it."""

    address: str = Field(
        default="auto", description="Of its head node, as host:port; auto: the cluster that this machine belongs to"
    )
    workers_per_node: int = Field(
        default=1, ge=1, le=1024, description="Where load.workers is auto: so many on each node that has room"
    )
    resources: dict[str, float] = Field(
        default_factory=lambda: {"CPU": 1.0}, description="What one worker takes of its node, by Ray's names"
    )
    timeout: Duration = Field(default=60.0, gt=0, description="Wait this long for room on the cluster")

    @field_validator("address")
    @classmethod
    def _address(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        if value != "auto" and ("//" in value or not host or not port.isdigit()):
            raise ValueError(f"{value!r} is neither auto nor host:port. Run harness on a node of the cluster")
        return value

    @field_validator("resources")
    @classmethod
    def _resources(cls, value: dict[str, float]) -> dict[str, float]:
        if not value or any(amount <= 0 for amount in value.values()):
            raise ValueError("a worker takes something of its node, as in {CPU: 1}")
        return value
