"""NVIDIA GPUs of this machine, through NVML (package nvidia-ml-py, extra `gpu`).

Functions and units: docs.nvidia.com/deploy/nvml-api, Device Queries (energy in mJ since the driver was loaded, power
in mW, clocks in MHz). What a GPU does not support is left out of its device.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from harness.records.telemetry import Device, Reading
from harness.telemetry.source import Engine, Missing, Settings

_DRIVER = Path("/proc/driver/nvidia/version")


class Nvml:
    """One device for each GPU, named by its UUID. A GPU split by MIG is marked shared: its sensors see all parts."""

    name = "nvml"

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._asked = settings.gpu
        self._here = engine.here
        self._lib: Any = None
        self._gpus: list[tuple[str, Any, str, bool]] = []

    def open(self) -> None:
        asked = self._asked
        if asked is False or (asked == "auto" and not self._here):
            raise Missing(severity=None)
        try:
            lib = import_module("pynvml")
        except ImportError as error:
            raise Missing(
                "the GPUs of this machine are not sampled: the package nvidia-ml-py is missing",
                remedy="pip install 'inference-harness[gpu]'",
                severity="warning" if asked != "auto" else "info" if _DRIVER.exists() else None,
            ) from error
        try:
            lib.nvmlInit()
            self._lib = lib
            self._gpus = self._found(asked if isinstance(asked, list) else list(range(lib.nvmlDeviceGetCount())))
        except lib.NVMLError as error:
            raise Missing(
                f"the GPUs of this machine are not sampled: NVML says {error}",
                remedy="check nvidia-smi, or set telemetry.gpu: false",
                severity="warning" if asked != "auto" else "info" if _DRIVER.exists() else None,
            ) from error
        if not self._gpus:
            raise Missing("NVML finds no GPU", severity=None if asked == "auto" else "warning")

    def sample(self) -> Reading:
        return Reading(devices={uuid: self._device(handle, name, mig) for uuid, handle, name, mig in self._gpus})

    def close(self) -> None:
        if self._lib is not None:
            self._lib.nvmlShutdown()
            self._lib = None

    def _found(self, indices: list[int]) -> list[tuple[str, Any, str, bool]]:
        lib, found = self._lib, []
        for index in indices:
            handle = lib.nvmlDeviceGetHandleByIndex(index)
            mig = self._told(lib.nvmlDeviceGetMigMode, handle)
            uuid, name = _text(lib.nvmlDeviceGetUUID(handle)), _text(lib.nvmlDeviceGetName(handle))
            found.append((uuid, handle, name, bool(mig and mig[0])))
        return found

    def _device(self, handle: Any, name: str, shared: bool) -> Device:
        lib = self._lib
        energy = self._told(lib.nvmlDeviceGetTotalEnergyConsumption, handle)
        power = self._told(lib.nvmlDeviceGetPowerUsage, handle)
        memory = self._told(lib.nvmlDeviceGetMemoryInfo, handle)
        busy = self._told(lib.nvmlDeviceGetUtilizationRates, handle)
        clock = self._told(lib.nvmlDeviceGetClockInfo, handle, lib.NVML_CLOCK_SM)
        return Device(
            kind="gpu",
            name=name,
            joules=None if energy is None else energy / 1000,
            watts=None if power is None else power / 1000,
            utilisation=None if busy is None else busy.gpu / 100,
            memory_bytes=None if memory is None else memory.used,
            memory_total_bytes=None if memory is None else memory.total,
            clock_hz=None if clock is None else clock * 1e6,
            shared=shared,
        )

    def _told(self, ask: Callable[..., Any], *args: Any) -> Any:
        """The answer, or None where this GPU does not support the question."""
        try:
            return ask(*args)
        except self._lib.NVMLError:
            return None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
