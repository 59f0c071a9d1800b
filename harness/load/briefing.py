"""What each worker of a run is told."""

from __future__ import annotations

import hashlib
import secrets

import msgspec

from harness.config import BackendConfig
from harness.load.appointment import Appointment
from harness.load.messages import WorkerSpec
from harness.load.reached import Reached
from harness.plan import Plan
from harness.records.folder import RunFolder


def worker_specs(
    folder: RunFolder, plan: Plan, params: BackendConfig, reached: Reached, size: int, appointment: Appointment
) -> list[WorkerSpec]:
    """The specs of the `size` workers of this run. All of them share one nonce, so that shared prompts stay shared.

    Shard i of n is divided once more, as the plan is: its worker k is worker i + k n of the whole.
    """
    experiment = plan.experiment
    run_id, nonce = _names(folder, plan, appointment)
    asked = experiment.model_copy(update={"backend": params})
    first, step = (0, 1) if appointment.shard is None else (appointment.shard.index, appointment.shard.of)
    return [
        WorkerSpec(
            experiment=asked.model_dump(mode="json"),
            shard=number,
            shards=step * size,
            target=reached.target,
            endpoint=reached.endpoint,
            run_id=run_id,
            records_path=str(folder.records_of(number)),
            text_calibration=msgspec.to_builtins(reached.calibration),
            run_nonce=nonce if experiment.workload.nonce else "",
            warm_connections=reached.keeps_connections,
        )
        for number in range(first, step * size, step)
    ]


def _names(folder: RunFolder, plan: Plan, appointment: Appointment) -> tuple[str, str]:
    """What ids of requests begin with, and the nonce. Shards of one load agree on both without a word."""
    if appointment.shard is None:
        return folder.id.rsplit("-", 1)[-1], secrets.token_hex(8)
    digest = hashlib.sha256(f"{plan.sha256} {appointment.at_ns}".encode()).hexdigest()
    return digest[:4], digest[4:20]
