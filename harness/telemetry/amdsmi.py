"""AMD GPUs of this machine, through AMD SMI (the package amdsmi that comes with ROCm).

Functions and units: rocm.docs.amd.com/projects/amdsmi, Python API (energy as counter x resolution in uJ, whose field
was called `power` before ROCm 6.4; power in W; memory in MB; activity in %). What is not known reads 'N/A'.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from harness.records.telemetry import Device, Reading
from harness.telemetry.source import Engine, Missing, Settings

_DRIVER = Path("/sys/module/amdgpu/version")


class AmdSmi:
    """One device for each GPU, named by its UUID."""

    name = "amdsmi"

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._asked = settings.gpu
        self._here = engine.here
        self._lib: Any = None
        self._gpus: list[tuple[str, Any, str]] = []

    def open(self) -> None:
        asked = self._asked
        if asked is False or (asked == "auto" and not self._here) or not (_DRIVER.exists() or self._installed()):
            raise Missing(severity=None)
        if not self._installed():
            raise Missing(
                "the AMD GPUs of this machine are not sampled: the package amdsmi is missing",
                remedy="install it from ROCm: pip install /opt/rocm/share/amd_smi",
                severity="info" if asked == "auto" else "warning",
            )
        lib = import_module("amdsmi")
        try:
            lib.amdsmi_init()
            self._lib = lib
            handles = lib.amdsmi_get_processor_handles()
            chosen = handles if not isinstance(asked, list) else [handles[i] for i in asked if i < len(handles)]
            self._gpus = [(str(lib.amdsmi_get_gpu_device_uuid(gpu)), gpu, self._name(gpu)) for gpu in chosen]
        except lib.AmdSmiException as error:
            raise Missing(
                f"the AMD GPUs of this machine are not sampled: {error}",
                remedy="check amd-smi, or set telemetry.gpu: false",
                severity="info" if asked == "auto" else "warning",
            ) from error
        if not self._gpus:
            raise Missing(severity=None)

    def sample(self) -> Reading:
        return Reading(devices={uuid: self._device(handle, name) for uuid, handle, name in self._gpus})

    def close(self) -> None:
        if self._lib is not None:
            self._lib.amdsmi_shut_down()
            self._lib = None

    def _device(self, handle: Any, name: str) -> Device:
        lib = self._lib
        energy = self._told(lib.amdsmi_get_energy_count, handle)
        power = self._told(lib.amdsmi_get_power_info, handle)
        memory = self._told(lib.amdsmi_get_gpu_vram_usage, handle)
        used, total = _number(memory, "vram_used"), _number(memory, "vram_total")
        busy = _number(self._told(lib.amdsmi_get_gpu_activity, handle), "gfx_activity")
        count, step = _number(energy, "energy_accumulator", "power"), _number(energy, "counter_resolution")
        return Device(
            kind="gpu",
            name=name,
            joules=None if count is None or step is None else count * step / 1e6,
            watts=_number(power, "current_socket_power", "average_socket_power"),
            utilisation=None if busy is None else busy / 100,
            memory_bytes=None if used is None else int(used) << 20,
            memory_total_bytes=None if total is None else int(total) << 20,
        )

    def _name(self, handle: Any) -> str:
        told = self._told(self._lib.amdsmi_get_gpu_asic_info, handle)
        return str(told.get("market_name", "")) if told else ""

    def _told(self, ask: Callable[..., Any], *args: Any) -> Any:
        """The answer, or None where this GPU does not support the question."""
        try:
            return ask(*args)
        except self._lib.AmdSmiException:
            return None

    @staticmethod
    def _installed() -> bool:
        try:
            import_module("amdsmi")
        except (ImportError, KeyError, OSError):  # the package is there, its library is not
            return False
        return True


def _number(told: dict[str, Any] | None, *keys: str) -> float | None:
    """The first of these fields that holds a number."""
    for key in keys:
        value = (told or {}).get(key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    return None
