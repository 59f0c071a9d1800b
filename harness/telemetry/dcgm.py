"""GPUs of any machine, through NVIDIA's DCGM exporter.

Field names and units: github.com/NVIDIA/dcgm-exporter, etc/default-counters.csv (energy in mJ since boot, power in W,
memory in MiB, clock in MHz, utilisation in %).
"""

from __future__ import annotations

from harness.records.telemetry import Device, Reading
from harness.telemetry.page import Page, PageError, Series, parse
from harness.telemetry.source import Engine, Missing, Settings

_ENERGY = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"
_POWER = "DCGM_FI_DEV_POWER_USAGE"
_USED = "DCGM_FI_DEV_FB_USED"
_CLOCK = "DCGM_FI_DEV_SM_CLOCK"
_BUSY = "DCGM_FI_DEV_GPU_UTIL"
_BLANK = 2.0**47  # DCGM writes this (dcgm_structs.h: DCGM_FP64_BLANK), or a little less than 2^63, for "not known"
_WANTED = frozenset((_ENERGY, _POWER, _USED, _CLOCK, _BUSY))


class Dcgm:
    """One device for each GPU, named by its UUID where the exporter tells it."""

    name = "dcgm"

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._page = Page(settings.dcgm) if settings.dcgm else None

    def open(self) -> None:
        if self._page is None:
            raise Missing(severity=None)
        try:
            devices = read_devices(parse(self._page.fetch(), _WANTED))
        except PageError as error:
            raise Missing(str(error), remedy="check telemetry.dcgm", severity="warning") from error
        if not devices:
            raise Missing(
                f"{self._page.url} has neither {_ENERGY} nor {_POWER}",
                remedy="is it the page of a DCGM exporter, with these fields switched on?",
                severity="warning",
            )

    def sample(self) -> Reading:
        if self._page is None:
            raise Missing("not open")
        return Reading(devices=read_devices(parse(self._page.fetch(), _WANTED)))

    def close(self) -> None:
        if self._page is not None:
            self._page.close()


def read_devices(series: Series) -> dict[str, Device]:
    """The GPUs of a page that tell energy or power. Lines of a MIG instance mark the whole GPU as shared."""
    devices: dict[str, Device] = {}
    shared = set()
    for name, lines in series.items():
        for labels, value in lines:
            key = _key(labels)
            device = devices.setdefault(key, Device(kind="gpu", name=labels.get("modelName", "")))
            if labels.get("GPU_I_ID"):
                shared.add(key)
            _fill(device, name, value)
    for key in shared:
        devices[key].shared = True
    return {key: device for key, device in devices.items() if device.joules is not None or device.watts is not None}


def _fill(device: Device, name: str, value: float) -> None:
    if not value < _BLANK:  # NaN too
        return
    match name:
        case "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION":
            device.joules = value / 1000
        case "DCGM_FI_DEV_POWER_USAGE":
            device.watts = value
        case "DCGM_FI_DEV_FB_USED":
            device.memory_bytes = int(value) << 20
        case "DCGM_FI_DEV_SM_CLOCK":
            device.clock_hz = value * 1e6
        case "DCGM_FI_DEV_GPU_UTIL":
            device.utilisation = value / 100


def _key(labels: dict[str, str]) -> str:
    """The UUID; without one the host and index, which no other source knows."""
    return labels.get("UUID") or f"{labels.get('Hostname', '')}/{labels.get('gpu', labels.get('device', '0'))}"
