"""The logbook of a run: its manifest, written anew as more becomes known."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from datetime import UTC, datetime
from threading import Thread, get_native_id
from typing import Any

import msgspec

from harness import __version__
from harness.load.appointment import Appointment
from harness.load.reached import Reached
from harness.load.wire import IN_PROCESS
from harness.plan import Plan
from harness.records import calibration
from harness.records.folder import RunFolder
from harness.records.machine import machine, packages
from harness.records.manifest import Manifest, WorkerReport
from harness.units import NS_PER_S

_PRIORITY = 19  # of 0 to 19: the higher, the later its turn
LATER_NS = 10 * NS_PER_S  # a load that is over by then waits for the hash at its end


class Logbook:
    """Writes the manifest once the target is reached, once the plan's hash is known, and once the load has ended.

    The hash of a large plan takes seconds of a core. Before the load it would delay the start, and after it a long run
    that is killed would have none. So it is looked for while the load runs, by a thread of low priority, but not in
    the first ten seconds: most loads are over soon, and have the cores for themselves.

    Attributes:
        manifest: what is known so far; there is none before `open`.
    """

    manifest: Manifest

    def __init__(self, folder: RunFolder, plan: Plan) -> None:
        self._folder = folder
        self._plan = plan
        self._sha256 = ""
        self._hashing: Thread | None = None

    def open(self, reached: Reached, appointment: Appointment) -> None:
        """The target is reached: all that is known before the load."""
        self.manifest = _before(self._folder, self._plan, reached)
        appointment.note(self.manifest, self._plan)
        self._write()

    def loaded(self, reached: Reached) -> None:
        """A worker has loaded an engine of its own and reached it: the manifest can tell now."""
        self.manifest.target = msgspec.to_builtins(reached.target)
        self.manifest.text_calibration = msgspec.to_builtins(reached.calibration)
        self._write()

    def look(self, t_ns: int) -> None:
        """Called now and then, `t_ns` after the start of load: writes the plan's hash down as soon as it is known."""
        if self.manifest.plan_sha256 or t_ns < LATER_NS:
            return
        if self._hashing is None:
            self._hashing = Thread(target=self._hash, name="plan-hash", daemon=True)
            self._hashing.start()
        elif self._sha256:
            self.manifest.plan_sha256 = self._sha256
            self._write()

    def close(self, reports: list[WorkerReport], facts: dict[str, Any], *, t0_ns: int, stolen: float | None) -> None:
        """Complete it with what was found out while the load ran: `facts` are of the machine, `stolen` the share of
        its CPU time that the hypervisor took."""
        manifest = self.manifest
        manifest.workers = reports
        manifest.interrupted = any(report.interrupted for report in reports)
        manifest.ended_at = _now()
        if self._hashing is not None:
            self._hashing.join()
        manifest.plan_sha256 = self._plan.sha256
        manifest.machine |= {**facts, "steal_share": stolen}
        manifest.clock["t0_monotonic_ns"] = t0_ns
        self._write()

    def _write(self) -> None:
        self._folder.write_manifest(self.manifest)

    def _hash(self) -> None:
        if sys.platform == "linux":  # where a thread has a priority of its own
            os.setpriority(os.PRIO_PROCESS, get_native_id(), _PRIORITY)
        with suppress(Exception):  # `close` asks again, and is told
            self._sha256 = self._plan.sha256


def _before(folder: RunFolder, plan: Plan, reached: Reached) -> Manifest:
    experiment = plan.experiment
    in_process = reached.endpoint.url == IN_PROCESS
    ours = experiment.load.on == "local" and not in_process  # this machine's wire makes the load
    kernel = experiment.load.kernel_stamps and experiment.load.wire == "harness" and not in_process
    return Manifest(
        run_id=folder.id,
        name=experiment.name,
        seed=experiment.seed,
        started_at=_now(),
        planned_sessions=plan.sessions,
        counted_sessions=plan.counted,
        warmup_sessions=plan.warmup_sessions,
        harness_version=__version__,
        machine=machine(),
        packages=packages(),
        target=msgspec.to_builtins(reached.target),
        settings={"keeps_connections": reached.keeps_connections},
        calibration=calibration.read() if ours else None,
        text_calibration=msgspec.to_builtins(reached.calibration),
        clock={"kernel_stamps": kernel},
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
