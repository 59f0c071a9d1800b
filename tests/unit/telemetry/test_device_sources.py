from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from harness.metrics.energy import energy_figures
from harness.metrics.summary import Rates
from harness.records.telemetry import Device, Sample, TelemetryLog
from harness.telemetry import amdsmi, nvml
from harness.telemetry.amdsmi import AmdSmi
from harness.telemetry.command import Command, watts
from harness.telemetry.dcgm import Dcgm
from harness.telemetry.nvml import Nvml
from harness.telemetry.rapl import Rapl
from harness.telemetry.source import Engine, Missing

S = 1_000_000_000
AWAY = Engine(url="https://api.example.com/v1")


class NvmlError(Exception):
    pass


class FakeNvml(ModuleType):
    """The part of pynvml that is used. A GPU is a dict; a key it lacks is not supported."""

    NVMLError = NvmlError
    NVML_CLOCK_SM = 1

    def __init__(self, gpus: list[dict[str, Any]]) -> None:
        super().__init__("pynvml")
        self.gpus = gpus
        self.open = 0
        for name, key in {
            "MigMode": "mig", "TotalEnergyConsumption": "energy", "PowerUsage": "power", "MemoryInfo": "memory",
            "UtilizationRates": "busy", "UUID": "uuid", "Name": "name",
        }.items():  # fmt: skip
            setattr(self, f"nvmlDeviceGet{name}", lambda gpu, key=key: self._told(gpu, key))

    def nvmlInit(self) -> None:
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> dict[str, Any]:
        if index >= len(self.gpus):
            raise NvmlError("Invalid Argument")
        return self.gpus[index]

    def nvmlDeviceGetClockInfo(self, gpu: dict[str, Any], kind: int) -> Any:
        assert kind == self.NVML_CLOCK_SM
        return self._told(gpu, "clock")

    def _told(self, gpu: dict[str, Any], key: str) -> Any:
        if key not in gpu:
            raise NvmlError("Not Supported")
        return gpu[key]


def gpu(number: int, **more: Any) -> dict[str, Any]:
    return {"uuid": f"GPU-{number}", "name": "NVIDIA H100", **more}


@pytest.fixture
def pynvml(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeNvml]:
    def install(*gpus: dict[str, Any]) -> FakeNvml:
        fake = FakeNvml(list(gpus))
        monkeypatch.setitem(sys.modules, "pynvml", fake)
        return fake

    return install


def test_two_gpus_in_si_units(pynvml: Any, wanted: Any, here: Engine) -> None:
    whole = gpu(
        0, energy=5_000_000, power=350_000, clock=1980, mig=[0, 0],
        memory=SimpleNamespace(used=60 << 30, total=80 << 30), busy=SimpleNamespace(gpu=87),
    )  # fmt: skip
    fake = pynvml(whole, gpu(1, power=70_500))
    source = Nvml(wanted(gpu="auto"), here)
    source.open()
    devices = source.sample().devices
    assert devices["GPU-0"] == Device(
        kind="gpu", name="NVIDIA H100", joules=5000.0, watts=350.0, utilisation=0.87,
        memory_bytes=60 << 30, memory_total_bytes=80 << 30, clock_hz=1.98e9,
    )  # fmt: skip
    assert devices["GPU-1"] == Device(kind="gpu", name="NVIDIA H100", watts=70.5)  # what it lacks is not 0
    source.close()
    source.close()
    assert fake.open == 0


def test_a_gpu_in_parts_is_shared(pynvml: Any, wanted: Any, here: Engine) -> None:
    pynvml(gpu(0, energy=1, mig=[1, 1]), gpu(1, energy=1, mig=[0, 1]))
    source = Nvml(wanted(gpu=True), here)
    source.open()
    assert [device.shared for device in source.sample().devices.values()] == [True, False]


def test_gpus_by_number(pynvml: Any, wanted: Any) -> None:
    pynvml(gpu(0, power=1), gpu(1, power=2), gpu(2, power=3))
    source = Nvml(wanted(gpu=[2]), AWAY)
    source.open()
    assert list(source.sample().devices) == ["GPU-2"]
    with pytest.raises(Missing, match="Invalid Argument") as told:
        Nvml(wanted(gpu=[3]), AWAY).open()
    assert told.value.severity == "warning"


def sampled(source: Nvml, gpus: list[dict[str, Any]], steps: list[list[dict[str, Any]]]) -> TelemetryLog:
    """One sample a second, each GPU as the step says; an empty value is a question that is not supported."""
    samples = []
    for second, step in enumerate(steps):
        for one, more in zip(gpus, step, strict=True):
            one.update(more)
            for key in [key for key, value in one.items() if value is None]:
                del one[key]
        samples.append(Sample(source="nvml", t_ns=second * S, devices=source.sample().devices))
    return TelemetryLog(samples=samples)


def test_the_energy_of_two_gpus_one_of_which_lacks_a_counter(pynvml: Any, wanted: Any, here: Engine) -> None:
    """GPU 0 counts 300 J a second, in mJ; GPU 1 has no counter and draws 100 W: 4 s are 1,200 J and 400 J."""
    gpus = [gpu(0, energy=0), gpu(1, power=100_000)]
    pynvml(*gpus)
    source = Nvml(wanted(gpu="auto"), here)
    source.open()
    log = sampled(source, gpus, [[{"energy": 7_000 + 300_000 * second}, {}] for second in range(7)])
    figures, findings = energy_figures(log, 1 * S, 5 * S, Rates())
    assert figures is not None and figures.by_device == pytest.approx({"GPU-0": 1200, "GPU-1": 400})
    assert figures.joules == pytest.approx(1600) and "energy_invalid" not in [found.code for found in findings]
    assert figures.source == "nvml counter (1 gpu) + nvml power (1 gpu)"


@pytest.mark.parametrize(("power", "joules"), [(250_000, 1000.0), (None, None)])
def test_a_counter_that_starts_again_is_never_a_negative_energy(
    pynvml: Any, wanted: Any, here: Engine, power: int | None, joules: float | None
) -> None:
    """NVML names no end of its counter: after a driver's restart it goes on from 0. What power tells (250 W, 4 s) is
    taken instead; without it the energy is unknown."""
    gpus = [gpu(0, energy=0, power=power)]
    pynvml(*gpus)
    source = Nvml(wanted(gpu="auto"), here)
    source.open()
    log = sampled(source, gpus, [[{"energy": energy, "power": power}] for energy in (9e8, 9.1e8, 9.2e8, 100, 2e5, 4e5)])
    figures, findings = energy_figures(log, 1 * S, 5 * S, Rates())
    assert figures is not None and figures.joules == (None if joules is None else pytest.approx(joules))
    assert ("energy_invalid" in [found.code for found in findings]) is (joules is None)


def test_the_energy_of_a_gpu_in_parts_is_not_told(pynvml: Any, wanted: Any, here: Engine) -> None:
    gpus = [gpu(0, energy=0, power=300_000, mig=[1, 1])]
    pynvml(*gpus)
    source = Nvml(wanted(gpu="auto"), here)
    source.open()
    log = sampled(source, gpus, [[{"energy": 300_000 * second}] for second in range(7)])
    figures, findings = energy_figures(log, 1 * S, 5 * S, Rates())
    assert figures is not None and figures.joules is None
    assert [found.code for found in findings][:1] == ["energy_invalid"] and "MIG" in findings[0].message


@pytest.mark.parametrize("asked", [False, "auto"])
def test_gpus_of_this_machine_say_nothing_of_a_target_elsewhere(pynvml: Any, wanted: Any, asked: Any) -> None:
    pynvml(gpu(0, power=1))
    with pytest.raises(Missing) as told:
        Nvml(wanted(gpu=asked), AWAY).open()
    assert told.value.severity is None


@pytest.mark.parametrize(
    ("asked", "driver", "severity"), [(True, False, "warning"), ("auto", True, "info"), ("auto", False, None)]
)
def test_without_the_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wanted: Any, here: Engine, asked: Any, driver: bool, severity: Any
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr(nvml, "_DRIVER", tmp_path if driver else tmp_path / "none")
    source = Nvml(wanted(gpu=asked), here)
    with pytest.raises(Missing, match="nvidia-ml-py") as told:
        source.open()
    assert told.value.severity == severity and "[gpu]" in told.value.remedy
    source.close()


def test_no_gpu_and_no_driver(pynvml: Any, wanted: Any, here: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = pynvml()
    with pytest.raises(Missing, match="finds no GPU"):
        Nvml(wanted(gpu=True), here).open()

    def fail() -> None:
        raise NvmlError("Driver Not Loaded")

    monkeypatch.setattr(fake, "nvmlInit", fail)
    with pytest.raises(Missing, match="Driver Not Loaded"):
        Nvml(wanted(gpu=True), here).open()


class AmdError(Exception):
    pass


def fake_amdsmi(gpus: list[dict[str, Any]]) -> ModuleType:
    fake = ModuleType("amdsmi")

    def ask(key: str) -> Callable[[dict[str, Any]], Any]:
        def told(gpu: dict[str, Any]) -> Any:
            if key not in gpu:
                raise AmdError("NOT_SUPPORTED")
            return gpu[key]

        return told

    fake.__dict__.update(
        AmdSmiException=AmdError,
        amdsmi_init=lambda: None,
        amdsmi_shut_down=lambda: None,
        amdsmi_get_processor_handles=lambda: gpus,
        amdsmi_get_gpu_device_uuid=ask("uuid"),
        amdsmi_get_energy_count=ask("energy"),
        amdsmi_get_power_info=ask("power"),
        amdsmi_get_gpu_vram_usage=ask("vram"),
        amdsmi_get_gpu_activity=ask("busy"),
        amdsmi_get_gpu_asic_info=ask("asic"),
    )
    return fake


def test_amd_gpus_over_versions_of_the_library(monkeypatch: pytest.MonkeyPatch, wanted: Any, here: Engine) -> None:
    new = {
        "uuid": "a0", "asic": {"market_name": "MI300X"}, "busy": {"gfx_activity": 50},
        "energy": {"energy_accumulator": 2_000_000, "counter_resolution": 15.3},
        "power": {"current_socket_power": 410, "average_socket_power": "N/A"},
        "vram": {"vram_used": 1024, "vram_total": 2048},
    }  # fmt: skip
    old = {"uuid": "a1", "energy": {"power": 10, "counter_resolution": 1e6}, "power": {"current_socket_power": "N/A"}}
    monkeypatch.setitem(sys.modules, "amdsmi", fake_amdsmi([new, old]))
    source = AmdSmi(wanted(gpu="auto"), here)
    source.open()
    assert source.sample().devices == {
        "a0": Device(
            kind="gpu", name="MI300X", joules=pytest.approx(30.6), watts=410, utilisation=0.5,
            memory_bytes=1 << 30, memory_total_bytes=2 << 30,
        ),
        "a1": Device(kind="gpu", joules=10.0),
    }  # fmt: skip
    source.close()
    one = AmdSmi(wanted(gpu=[1]), here)
    one.open()
    assert list(one.sample().devices) == ["a1"]


def test_amd_without_gpu_package_or_driver(monkeypatch: pytest.MonkeyPatch, wanted: Any, here: Engine) -> None:
    monkeypatch.setitem(sys.modules, "amdsmi", None)
    for asked, source_of in ((True, here), ("auto", here), (False, here), ("auto", AWAY)):
        with pytest.raises(Missing) as told:
            AmdSmi(wanted(gpu=asked), source_of).open()
        assert told.value.severity is None  # nothing tells that there is such a GPU
    monkeypatch.setattr(amdsmi, "_DRIVER", Path("/"))
    with pytest.raises(Missing, match="package amdsmi is missing"):
        AmdSmi(wanted(gpu="auto"), here).open()
    monkeypatch.setitem(sys.modules, "amdsmi", fake_amdsmi([{}]))
    with pytest.raises(Missing, match="NOT_SUPPORTED"):
        AmdSmi(wanted(gpu=True), here).open()
    monkeypatch.setitem(sys.modules, "amdsmi", fake_amdsmi([]))
    with pytest.raises(Missing):
        AmdSmi(wanted(gpu=True), here).open()


def zone(folder: Path, name: str, called: str, energy: int | None, most: int | None = 262_143_328_850) -> None:
    path = folder / name
    path.mkdir(parents=True)
    (path / "name").write_text(f"{called}\n")
    if energy is not None:
        (path / "energy_uj").write_text(f"{energy}\n")
    if most is not None:
        (path / "max_energy_range_uj").write_text(f"{most}\n")


def test_rapl_counts_packages_and_memory_once(tmp_path: Path, wanted: Any, here: Engine) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 1_500_000)
    zone(tmp_path, "intel-rapl:0:0", "core", 900_000)
    zone(tmp_path, "intel-rapl:0:1", "dram", 250_000, most=None)
    zone(tmp_path, "intel-rapl:1", "package-1", 2_000_000)
    zone(tmp_path, "intel-rapl:2", "psys", 9_000_000)
    zone(tmp_path, "intel-rapl-mmio:0", "package-0", 1_500_000)
    source = Rapl(wanted(cpu="auto"), here, tmp_path)
    source.open()
    told = {key: (device.kind, device.joules, device.wrap_j) for key, device in source.sample().devices.items()}
    wrap = 262143.32885
    assert told == {
        "package-0": ("cpu", 1.5, wrap), "package-0/dram": ("cpu", 0.25, None), "package-1": ("cpu", 2.0, wrap),
    }  # fmt: skip
    source.close()


def test_rapl_that_is_not_there_or_not_readable(tmp_path: Path, wanted: Any, here: Engine) -> None:
    for asked, engine, severity in (("auto", AWAY, None), (False, here, None), ("auto", here, "info")):
        with pytest.raises(Missing) as told:
            Rapl(wanted(cpu=asked), engine, tmp_path).open()
        assert told.value.severity == severity
    zone(tmp_path, "intel-rapl:0", "package-0", None)
    (tmp_path / "intel-rapl:0" / "energy_uj").mkdir()  # as unreadable to root as to anybody
    with pytest.raises(Missing, match="cannot be read") as told:
        Rapl(wanted(cpu="auto"), here, tmp_path).open()
    assert "chmod" in told.value.remedy
    zone(tmp_path, "intel-rapl:1", "", 1)
    (tmp_path / "intel-rapl:1" / "name").unlink()  # a zone without a name is none we know
    with pytest.raises(Missing, match="intel-rapl:0/energy_uj"):
        Rapl(wanted(cpu=True), AWAY, tmp_path).open()


@pytest.mark.parametrize(
    ("text", "expected"), [("12.5\n", 12.5), (" 12.5 W", 12.5), ("12500 mW\n", 12.5), ("1.2kW", 1200), ("3e1", 30)]
)
def test_watts(text: str, expected: float) -> None:
    assert watts(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "on", "-3", "nan", "12 V", "12 13", "W"])
def test_what_is_no_number_of_watts(text: str) -> None:
    with pytest.raises(ValueError, match="not a number of watts"):
        watts(text)


def test_a_command_is_a_meter_of_the_whole_box(wanted: Any) -> None:
    source = Command(wanted(power_command="expr 10 + 2"), AWAY)
    source.open()
    assert source.sample().devices == {"meter": Device(kind="box", name="power_command", watts=12.0)}
    source.close()


@pytest.mark.parametrize(
    ("command", "said"), [("echo broken >&2; exit 3", "exit code 3: broken"), ("echo hello", "'hello'")]
)
def test_a_command_that_fails_is_told(wanted: Any, command: str, said: str) -> None:
    with pytest.raises(Missing, match=said) as told:
        Command(wanted(power_command=command), AWAY).open()
    assert told.value.severity == "warning"
    with pytest.raises(Missing) as told:
        Command(wanted(), AWAY).open()
    assert told.value.severity is None


def test_a_command_that_hangs_is_ended_with_all_it_started(
    wanted: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("harness.telemetry.command._PATIENCE_S", 0.2)
    mark = tmp_path / "pid"
    with pytest.raises(ValueError, match="longer than"):
        Command(wanted(power_command=f"sleep 1000 & echo $! > {mark}; wait"), AWAY).sample()
    state = Path(f"/proc/{mark.read_text().strip()}/stat")
    assert not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] == "Z"


DCGM = """\
# TYPE DCGM_FI_DEV_POWER_USAGE gauge
DCGM_FI_DEV_POWER_USAGE{gpu="0",UUID="GPU-a",modelName="NVIDIA A100",Hostname="h"} 250.5
DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="0",UUID="GPU-a",modelName="NVIDIA A100",Hostname="h"} 2000
DCGM_FI_DEV_FB_USED{gpu="0",UUID="GPU-a",modelName="NVIDIA A100",Hostname="h"} 1024
DCGM_FI_DEV_SM_CLOCK{gpu="0",UUID="GPU-a",modelName="NVIDIA A100",Hostname="h"} 1410
DCGM_FI_DEV_GPU_UTIL{gpu="0",UUID="GPU-a",modelName="NVIDIA A100",Hostname="h"} 99
DCGM_FI_DEV_POWER_USAGE{gpu="1",UUID="GPU-b",GPU_I_ID="3",GPU_I_PROFILE="1g.10gb"} 90
DCGM_FI_DEV_GPU_UTIL{gpu="2",Hostname="h"} 5
DCGM_FI_DEV_POWER_USAGE{gpu="3",Hostname="h"} 60
DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="3",Hostname="h"} 9223372036854775794
DCGM_FI_DEV_POWER_USAGE{gpu="4",Hostname="h"} 140737488355328.000000
DCGM_FI_DEV_FB_USED{gpu="3",Hostname="h"} NaN
"""


def test_the_page_of_a_dcgm_exporter(site: Any, wanted: Any) -> None:
    site.pages["/metrics"] = DCGM
    source = Dcgm(wanted(dcgm=f"{site.url}/metrics"), AWAY)
    source.open()
    assert source.sample().devices == {
        "GPU-a": Device(
            kind="gpu", name="NVIDIA A100", joules=2.0, watts=250.5, utilisation=0.99, memory_bytes=1 << 30,
            clock_hz=1.41e9,
        ),
        "GPU-b": Device(kind="gpu", watts=90, shared=True),
        "h/3": Device(kind="gpu", watts=60),
    }  # fmt: skip
    source.close()


def test_a_dcgm_exporter_that_is_none(site: Any, wanted: Any) -> None:
    site.pages["/metrics"] = "up 1\n"
    with pytest.raises(Missing, match="neither"):
        Dcgm(wanted(dcgm=f"{site.url}/metrics"), AWAY).open()
    with pytest.raises(Missing, match="HTTP 404"):
        Dcgm(wanted(dcgm=f"{site.url}/none"), AWAY).open()
    source = Dcgm(wanted(), AWAY)
    with pytest.raises(Missing) as told:
        source.open()
    assert told.value.severity is None
    with pytest.raises(Missing):
        source.sample()
    source.close()
