"""One exit code from everything that was judged."""

from __future__ import annotations

from harness.errors import ExitCode
from harness.judge.expression import parse
from harness.metrics.summary import Summary


def exit_code(summary: Summary) -> ExitCode:
    """Invalid (4) before failed (10) before regression (11) before inconclusive (12); else passed (0).

    A gate never passes on an invalid run, so nothing it says is looked at there.
    """
    if summary.validity.verdict == "invalid":
        return ExitCode.INVALID
    judged = [*summary.slo, *summary.gate]
    failed = [result for result in judged if result.verdict == "fail"]
    if any(not parse(result.expr).regress for result in failed):
        return ExitCode.FAILED
    if failed:
        return ExitCode.REGRESSION
    if any(result.verdict == "inconclusive" for result in judged):
        return ExitCode.INCONCLUSIVE
    return ExitCode.PASSED
