"""A power meter of any kind, asked by a command that prints watts: a smart plug, a PMIC, a board's sensor."""

from __future__ import annotations

import os
import re
import signal
import subprocess

from harness.records.telemetry import Device, Reading
from harness.telemetry.source import Engine, Missing, Settings

METER = "meter"
_WATTS = re.compile(r"([0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?)\s*(|m|k)W?", re.ASCII)
_SCALE = {"": 1.0, "m": 1e-3, "k": 1e3}
_PATIENCE_S = 5.0


class Command:
    """The command runs in a shell, once a sample, and prints one number: `12.5`, `12.5 W` or `12500 mW`."""

    name = "command"

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._command = settings.power_command

    def open(self) -> None:
        if not self._command:
            raise Missing(severity=None)
        try:
            self.sample()
        except (OSError, ValueError) as error:
            raise Missing(
                f"telemetry.power_command: {error}",
                remedy="run it in a shell: it must print watts as one number and exit 0",
                severity="warning",
            ) from error

    def sample(self) -> Reading:
        return Reading(devices={METER: Device(kind="box", name="power_command", watts=watts(self._ask()))})

    def close(self) -> None:
        pass

    def _ask(self) -> str:
        """What the command prints. Raises ValueError where it fails or takes too long, with all it has started."""
        process = subprocess.Popen(
            str(self._command),
            shell=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            out, err = process.communicate(timeout=_PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise ValueError(f"it took longer than {_PATIENCE_S:g} s") from None
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        if process.returncode:
            said = err.decode("utf-8", "replace").strip()[-200:]
            raise ValueError(f"exit code {process.returncode}{f': {said}' if said else ''}")
        return out.decode("utf-8", "replace")


def watts(text: str) -> float:
    """Watts from `12.5`, `12.5 W`, `12500 mW` or `0.0125 kW`. Raises ValueError for anything else."""
    match = _WATTS.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"it printed {text.strip()[:80]!r}, which is not a number of watts")
    return float(match[1]) * _SCALE[match[2]]
