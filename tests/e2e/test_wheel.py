"""The wheel works where there is no clone: code, entry points and the files that travel with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which nothing but our wheel has been installed."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", folder, ROOT], check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", folder / "site", wheel], check=True)
    return folder / "site"


def python(installed: Path, cwd: Path, *words: str) -> str:
    """Run with the wheel before all else, so that the clone is not seen."""
    variables = os.environ | {"PYTHONPATH": str(installed), "NO_COLOR": "1"}
    done = subprocess.run([sys.executable, *words], cwd=cwd, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_carries_what_a_clone_has_in_configs(installed: Path, tmp_path: Path) -> None:
    root = Path(python(installed, tmp_path, "-c", "import harness.assets as a; print(a.root())").strip())
    assert root.is_relative_to(installed)
    ours = ROOT / "configs"
    assert {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()} == {
        path.relative_to(ours): path.read_bytes() for path in ours.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("preset", ["quickstart", "vllm", "llamacpp", "owned-box"])
def test_a_preset_can_be_planned_by_its_name(installed: Path, tmp_path: Path, preset: str) -> None:
    assert '"plan_sha256"' in python(installed, tmp_path, "-m", "harness", "plan", preset, "--json")


def test_price_tables_travel_in_the_wheel(installed: Path, tmp_path: Path) -> None:
    assert "openai/gpt-4o" in python(installed, tmp_path, "-m", "harness", "prices", "gpt", "--json")
