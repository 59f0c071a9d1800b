"""A worker that holds the engine: loads it, asks it what `reach` asks a server, and keeps it for the load."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec

from harness import registry
from harness.backends.protocol import InProcess
from harness.config import Experiment
from harness.errors import TargetError
from harness.load.engine_wire import EngineWire
from harness.load.messages import WorkerSpec
from harness.load.reached import Reached
from harness.load.wire import IN_PROCESS

_LOG = "engine.log"  # in the run's folder
_SWITCH_S = 0.0002  # how long the loop may wait for an engine's thread that runs Python; the default is 5 ms


@dataclass(frozen=True)
class Hosted:
    """The wire to an engine that is loaded, and the spec with what is known of it now."""

    wire: EngineWire
    spec: WorkerSpec
    reached: Reached


async def host_engine(spec: WorkerSpec) -> Hosted | None:
    """Load the engine that the spec asks for, on the running loop; None where it asks for a server.

    What the engine prints goes to `engine.log` beside the records.

    Raises:
        TargetError: it cannot be loaded, or does not answer; its last words are in the message.
        UsageError: it cannot be loaded as the config asks.
    """
    if spec.endpoint.url != IN_PROCESS:
        return None
    from harness.backends.launch import last_words
    from harness.load.reach import reach_over  # with httpx, which other workers do without

    experiment = Experiment.model_validate(spec.experiment)
    backend = registry.load("harness.backends", experiment.backend.kind)(experiment.backend)
    if not isinstance(backend, InProcess):
        return None
    log = Path(spec.records_path).with_name(_LOG)
    _redirect(log)
    sys.setswitchinterval(_SWITCH_S)
    wire = EngineWire(backend.engine())
    try:
        await wire.open(0)
        reached = await reach_over(wire, experiment, experiment.backend, prepare=True)
    except TargetError as error:
        await wire.close()
        words = last_words(log)
        told = "\n".join([error.message, "its last words:", *words]) if words else error.message
        raise TargetError(told, remedy=error.remedy) from error
    calibration = msgspec.to_builtins(reached.calibration)
    return Hosted(wire, msgspec.structs.replace(spec, target=reached.target, text_calibration=calibration), reached)


def last_words_of(how: str | None, engine: str, folder: Path) -> str | None:
    """What to tell of a worker that ended so, with the engine that it held; None where it has not."""
    if how is None:
        return None
    from harness.backends.launch import last_words

    return "\n".join([f"{engine} ended with its worker ({how}); its last words:", *last_words(folder / _LOG)])


def _redirect(log: Path) -> None:
    """Send what this process prints from now on, in whatever language, to the log."""
    sys.stdout.flush()
    sys.stderr.flush()
    with log.open("ab") as file:
        for standard in (1, 2):
            os.dup2(file.fileno(), standard)
