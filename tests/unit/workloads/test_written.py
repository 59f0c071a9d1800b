"""Patterns of the user's own: the one in the documents, and what can be wrong with one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.config.load import load, resolved
from harness.errors import ConfigError
from harness.plan import make_plan
from harness.workloads.builder import SessionBuilder
from harness.workloads.pattern import Pattern, pattern
from harness.workloads.session import check

DOCS = Path(__file__).parents[3] / "docs" / "workloads.md"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of the documents: `my_agent.py`, and `config.yaml` that names it."""
    text = DOCS.read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    [workload] = re.findall(r"^(workload: \{kind: \./my_agent.*)$", text, re.MULTILINE)
    (tmp_path / "my_agent.py").write_text(code)
    (tmp_path / "config.yaml").write_text(
        f"backend: {{kind: sim}}\n{workload}\nload: {{concurrency: 2, sessions: 4}}\n"
    )
    return tmp_path


def test_the_pattern_of_the_documents(folder: Path) -> None:
    body = (folder / "my_agent.py").read_text().partition("@pattern")[2].strip().splitlines()
    assert len(body) <= 12
    session = make_plan(load(folder / "config.yaml").experiment).session(3)
    check(session)
    assert session.kind == "research"
    assert [node.name for node in session.nodes] == ["plan", *(f"searcher-{n}.read" for n in range(1, 9)), "report"]
    assert session.nodes[-1].after == tuple(range(1, 9))
    assert session.nodes[1].gap_ns == 400_000_000 and session.nodes[1].input_tokens == 900 // 4
    assert session.nodes[0].input_tokens == 500 // 4 + 80 // 4


def test_it_is_found_beside_the_config_and_from_anywhere_when_run_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    first = load(folder / "config.yaml").experiment
    again = tmp_path / "elsewhere" / "experiment.yaml"
    again.parent.mkdir()
    again.write_text(resolved(first))
    second = load(again).experiment
    assert second == first and make_plan(second).sha256 == make_plan(first).sha256


def test_another_process_makes_the_same_plan(folder: Path) -> None:
    command = [sys.executable, "-m", "harness", "plan", "config.yaml", "--json"]
    told = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert make_plan(load(folder / "config.yaml").experiment).sha256 in told.stdout


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("my_agent.py:research", "no_agent.py:research"), "workload.kind: there is no file ./no_agent.py"),
        (("my_agent.py:research", "my_agent.py:serach"), "workload.kind: there is no serach in"),
        (("my_agent.py:research", "my_agent.py:SessionBuilder"), "has no Params: decorate the function with @pattern"),
        (("searches: 8", "searchs: 8"), "workload.searchs: unknown key. Did you mean workload.searches?"),
        (("searches: 8", "searches: many"), "workload.searches: 'many' is not a whole number"),
        (("searches: 8", "fetch: soon"), "workload.fetch: 'soon' is not a duration"),
    ],
)
def test_what_is_wrong_with_the_config(folder: Path, change: tuple[str, str], problem: str) -> None:
    file = folder / "config.yaml"
    file.write_text(file.read_text().replace(*change))
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert problem in str(caught.value)


def test_a_file_that_breaks(folder: Path) -> None:
    (folder / "broken.py").write_text("import nothing_of_that_name\n")
    file = folder / "config.yaml"
    file.write_text(file.read_text().replace("my_agent.py", "broken.py"))
    with pytest.raises(
        ConfigError, match="cannot be loaded: ModuleNotFoundError: No module named 'nothing_of_that_name'"
    ):
        load(file)


def test_parameters_need_types_defaults_and_names_of_their_own() -> None:
    def untyped(build: SessionBuilder, n=3) -> None: ...  # type: ignore[no-untyped-def]

    def required(build: SessionBuilder, n: int) -> None: ...

    def taken(build: SessionBuilder, scale: int = 3) -> None: ...

    for function, problem in ((untyped, "needs a type"), (required, "a default"), (taken, "a key scale already")):
        with pytest.raises(TypeError, match=problem):
            pattern(function)


def test_a_pattern_must_build_something() -> None:
    with pytest.raises(NotImplementedError):
        Pattern(Pattern.Params()).session(7, 0)
