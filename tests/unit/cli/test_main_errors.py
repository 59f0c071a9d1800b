"""However a verb ends, `harness` says it in a line or two and with its exit code: never in a traceback."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import harness.cli
import harness.cli.app
from harness.errors import ConfigError, HarnessError, MissingExtra, ResultsError, TargetError, UsageError

Ends = Callable[[BaseException], tuple[int, str]]


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ends:
    """Run main() with a verb that raises this; the exit code, and what stderr says."""

    def run(error: BaseException) -> tuple[int, str]:
        def verb() -> None:
            raise error

        monkeypatch.setattr(harness.cli.app, "app", verb)
        with pytest.raises(SystemExit) as raised:
            harness.cli.main()
        code = raised.value.code
        assert isinstance(code, int)
        written = capsys.readouterr()
        assert written.out == ""
        return code, written.err

    return run


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (HarnessError("it went wrong"), 1),
        (UsageError("it went wrong"), 2),
        (ResultsError("it went wrong"), 2),
        (TargetError("it went wrong"), 3),
    ],
)
def test_each_kind_of_error_has_its_exit_code(ends: Ends, error: HarnessError, code: int) -> None:
    assert ends(error) == (code, "✗ it went wrong\n")


def test_the_remedy_is_a_line_of_its_own(ends: Ends) -> None:
    assert ends(TargetError("no answer", remedy="Start it.")) == (3, "✗ no answer\n  Start it.\n")
    assert "pip install 'inference-harness[gpu]'" in ends(MissingExtra("GPU telemetry", "gpu"))[1]
    assert "load.rate: must be more than 0" in ends(ConfigError("load.rate", "must be more than 0"))[1]


def test_interrupted(ends: Ends) -> None:
    code, said = ends(KeyboardInterrupt())
    assert code == 130 and said.strip() == "interrupted"


def test_what_nobody_foresaw_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def verb() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(harness.cli.app, "app", verb)
    with pytest.raises(ZeroDivisionError):
        harness.cli.main()
