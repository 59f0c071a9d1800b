"""Agents on llama.cpp for real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engines import agents

if TYPE_CHECKING:
    from tests.conftest import Engine

pytestmark = pytest.mark.engine


def test_react_and_orchestrator_on_llama_cpp(llama_server: Engine, tmp_path: Path) -> None:
    (tmp_path / "agents.yaml").write_text(agents.config({"kind": "llamacpp", "url": llama_server.url, "model": "tiny"}))
    command = [sys.executable, "-m", "harness", "run", "agents.yaml", "--json", "--quiet"]
    environment = os.environ | {"NO_COLOR": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 4), done.stderr
    files = (tmp_path / "results").glob("*/records-*.jsonl")
    records = [json.loads(line) for path in files for line in path.read_text().splitlines()]
    agents.check(json.loads(done.stdout), records)
