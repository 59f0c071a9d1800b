"""The exception tree and the exit codes.

    HarnessError                 1   something we did not foresee, told in one line
    ├── UsageError               2   wrong flags, wrong config, missing extra
    │   ├── ConfigError          2   a config value, named by its path
    │   ├── ExpressionError      2   an SLO or gate expression
    │   └── MissingExtra         2   an optional package is needed; carries the exact pip line
    ├── TargetError              3   the endpoint cannot be reached or cannot be used
    └── ResultsError             2   a results folder that cannot be read or written

Verdicts about a finished run (invalid, SLO failed, regression, inconclusive) are results, not exceptions:
they are carried as `ExitCode` values.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Process exit codes. Each has one meaning, for people and for CI."""

    PASSED = 0  # done, and everything judged has passed
    UNEXPECTED = 1  # an error we did not foresee
    USAGE = 2  # wrong flags or wrong config; nothing was sent
    TARGET = 3  # the target cannot be reached or is unfit
    INVALID = 4  # the run cannot be trusted
    FAILED = 10  # an SLO or a gate failed
    REGRESSION = 11  # a comparison found a regression
    INCONCLUSIVE = 12  # not enough evidence for a verdict
    INTERRUPTED = 130  # stopped by Ctrl-C


class HarnessError(Exception):
    """Base of everything `harness` raises on purpose. `remedy` says what to do next, or is empty."""

    exit_code: ExitCode = ExitCode.UNEXPECTED

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class UsageError(HarnessError):
    """The command line or the config asks for something that cannot be done."""

    exit_code = ExitCode.USAGE


class ConfigError(UsageError):
    """A config value is wrong. `path` is its dotted place, `source` the file or override it came from."""

    def __init__(self, path: str, problem: str, *, source: str = "config", remedy: str = "") -> None:
        super().__init__(f"{source}: {path}: {problem}" if path else f"{source}: {problem}", remedy=remedy)
        self.path = path
        self.problem = problem
        self.source = source


class ExpressionError(UsageError):
    """An SLO or gate expression cannot be parsed or names an unknown metric."""


class MissingExtra(UsageError):
    """An optional package is missing. The remedy is the exact install command."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(
            f"{what} needs the optional extra '{extra}', which is not installed",
            remedy=f"pip install 'inference-harness[{extra}]'",
        )
        self.extra = extra


class ResultsError(UsageError):
    """A results folder cannot be read or written."""


class TargetError(HarnessError):
    """The endpoint cannot be reached, refuses us, or does not speak the dialect."""

    exit_code = ExitCode.TARGET
