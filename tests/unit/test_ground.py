"""The ground floor: exceptions, units, clock, registry, secrets, assets."""

from __future__ import annotations

import asyncio
import math
import re
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import assets, clock, errors, registry, secrets, units
from harness.errors import ConfigError, ExitCode, HarnessError, MissingExtra, TargetError, UsageError

# errors


def test_every_exception_is_in_the_drawn_tree_with_its_exit_code() -> None:
    drawn = dict(re.findall(r"([A-Z]\w+)\s+(\d+)", errors.__doc__ or ""))

    def tree(cls: type[HarnessError]) -> list[type[HarnessError]]:
        return [cls, *(below for each in cls.__subclasses__() for below in tree(each))]

    own = [cls for cls in tree(HarnessError) if cls.__module__ == "harness.errors"]
    assert {cls.__name__: str(int(cls.exit_code)) for cls in own} == drawn


def test_exit_codes_are_the_published_ones() -> None:
    assert {code.name: int(code) for code in ExitCode} == {
        "PASSED": 0,
        "UNEXPECTED": 1,
        "USAGE": 2,
        "TARGET": 3,
        "INVALID": 4,
        "FAILED": 10,
        "REGRESSION": 11,
        "INCONCLUSIVE": 12,
        "INTERRUPTED": 130,
    }


def test_config_error_names_source_and_path() -> None:
    error = ConfigError("load.rate", "is missing", source="a.yaml", remedy="write it")
    assert str(error) == "a.yaml: load.rate: is missing"
    assert (error.remedy, error.exit_code) == ("write it", ExitCode.USAGE)
    assert str(ConfigError("", "is empty", source="a.yaml")) == "a.yaml: is empty"
    assert TargetError("x").exit_code == ExitCode.TARGET


def test_missing_extra_carries_the_exact_pip_line() -> None:
    assert MissingExtra("backend kind 'vllm'", "vllm").remedy == "pip install 'inference-harness[vllm]'"


# units


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("2s", 2),
        ("1.5m", 90),
        ("1h", 3600),
        ("3", 3),
        (3, 3),
        (0.5, 0.5),
        ("10 us", 1e-5),
        ("5ns", 5e-9),
    ],
)
def test_durations(text: str | float, seconds: float) -> None:
    assert units.parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5%", "-1s", "1d", "inf", "nan", "5/s", True, "s"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        units.parse_duration(text)


@pytest.mark.parametrize(("text", "rate"), [("5/s", 5), ("300/m", 5), ("7200/h", 2), (2.5, 2.5), ("2.5", 2.5)])
def test_rates(text: str | float, rate: float) -> None:
    assert units.parse_rate(text) == pytest.approx(rate)


@pytest.mark.parametrize("text", ["0/s", "-5/s", "5/d", "5s", False, "inf"])
def test_no_rates(text: str) -> None:
    with pytest.raises(ValueError, match="is not a rate"):
        units.parse_rate(text)


def test_shares_and_counts() -> None:
    assert units.parse_share("5%") == pytest.approx(0.05)
    assert units.parse_share("0.05") == units.parse_share(0.05) == 0.05
    assert units.parse_count("1.2k") == 1200
    assert units.parse_count("2M") == 2e6
    assert units.parse_count(7) == 7
    for parse, bad in ((units.parse_share, "x%"), (units.parse_count, "1T"), (units.parse_share, True)):
        with pytest.raises(ValueError, match="is not a"):
            parse(bad)
    with pytest.raises(ValueError, match="True is not a number"):
        units.parse_count(True)


@given(st.floats(0, 1e9, allow_subnormal=False))
def test_any_number_of_milliseconds_is_a_duration(value: float) -> None:
    assert units.parse_duration(f"{value!r}ms") == pytest.approx(value / 1000)


@given(st.text(max_size=12))
def test_no_text_makes_the_parsers_raise_anything_else(text: str) -> None:
    for parse in (units.parse_duration, units.parse_rate, units.parse_share, units.parse_count):
        try:
            value = parse(text)
        except ValueError:
            continue
        assert isinstance(value, float)


def test_figures_as_people_read_them() -> None:
    thin = units.THIN
    assert units.format_number(4812.3) == f"4{thin}810"
    assert units.format_number(None) == units.format_number(math.nan) == "–"
    assert units.format_number(9.996) == "10.0"
    assert units.format_number(0) == "0"
    told = {0.000412: "412 µs", 0.176: "176 ms", 6.1: "6.10 s", 200: "3 min 20 s", 7325: "2 h 02 min", 0: "0 s"}
    assert {seconds: units.format_duration(seconds) for seconds in told} == told
    assert units.format_duration(None) == units.format_share(None) == units.format_money(None) == "–"
    assert units.format_share(0.118) == "11.8 %"
    assert units.format_money(0.0412) == "$0.0412"
    assert units.format_money(3.1, "CHF") == "3.10 CHF"


# clock


def test_virtual_hour_takes_no_time_and_is_exact() -> None:
    loop = clock.VirtualLoop()

    async def main() -> list[int]:
        stamps = []
        for _ in range(3):
            await asyncio.sleep(1200)
            stamps.append(loop.now_ns())
        return stamps

    before = clock.now_ns()
    assert loop.run(main()) == [1200 * 10**9, 2400 * 10**9, 3600 * 10**9]
    assert clock.now_ns() - before < 3600 * 10**9


def test_virtual_time_that_nothing_can_move_is_an_error() -> None:
    loop = clock.VirtualLoop()

    async def forever() -> None:
        await loop.create_future()

    with pytest.raises(RuntimeError, match="stands still"):
        loop.run(forever())


# registry


def test_registry_names_and_loads() -> None:
    assert "chat" in registry.names("harness.workloads")
    assert registry.load("harness.workloads", "chat").__name__ == "Chat"


def test_registry_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown workload kind 'chatt'\. Did you mean chat\?"):
        registry.load("harness.workloads", "chatt")
    with pytest.raises(UsageError, match=r"Known: .*chat"):
        registry.load("harness.workloads", "zzzz")


def test_registry_turns_a_missing_package_into_its_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    points = {
        "ours": EntryPoint("ours", "harness_missing_module:X", "harness.backends"),
        "gpu": EntryPoint("gpu", "harness_missing_module:X", "harness.backends"),
    }
    monkeypatch.setattr(registry, "_table", lambda group: points)
    with pytest.raises(ModuleNotFoundError):
        registry.load("harness.backends", "ours")
    monkeypatch.setattr(registry, "_EXTRAS", {"harness_missing_module": "gpu"})
    with pytest.raises(MissingExtra) as caught:
        registry.load("harness.backends", "gpu")
    assert caught.value.extra == "gpu"


# secrets


def test_secrets_come_from_environment_and_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("A_KEY", "v1")
    assert secrets.resolve("env:A_KEY", path="p") == "v1"
    file = tmp_path / "key"
    file.write_text(" v2\n")
    assert secrets.resolve(f"file:{file}", path="p") == "v2"
    file.write_text("\n")
    for reference, problem in {
        "env:NOT_SET_ANYWHERE": "NOT_SET_ANYWHERE is not set",
        f"file:{tmp_path}/none": "cannot read",
        f"file:{file}": "is empty",
        "sk-literal": "must be a reference",
        "env:": "must be a reference",
    }.items():
        with pytest.raises(ConfigError, match=problem) as caught:
            secrets.resolve(reference, path="backend.api_key")
        assert caught.value.path == "backend.api_key"


def test_redaction() -> None:
    assert secrets.redact("key is hunter2!", ["hunter2"]) == "key is ***!"
    for told in ("Authorization: Bearer abcdefghij", '{"authorization": "Basic abcdefghij"}', "token=abcdefghij"):
        assert "abcdefghij" not in secrets.redact(told)
    assert "sk-abcdefgh123" not in secrets.redact("bad key sk-abcdefgh123 given")
    assert secrets.redact("api_key: env:NAME") == "api_key: env:NAME"
    assert secrets.redact("ab", ["ab"]) == "ab"  # too short to be a secret; masking it would garble everything


# assets


def test_quickstart_travels_with_the_package() -> None:
    assert assets.find("quickstart.yaml") is not None
    assert assets.find("no-such.yaml") is None
    assert assets.root().is_dir()


def test_sparklines() -> None:
    assert units.sparkline([0, 5, 10]) == "▁▅█"
    assert units.sparkline([0, None, 10]) == "▁ █"
    assert units.sparkline([0, 0]) == "" == units.sparkline([]) == units.sparkline([None])
