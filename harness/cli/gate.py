"""`harness gate`: judge a finished run again, alone or against a baseline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import Json, Output

if TYPE_CHECKING:
    from harness.judge.expression import Expression
    from harness.judge.subject import Subject

_BASELINES = Path("results/baselines")


def gate(
    run: Annotated[Path, typer.Argument(help="The folder of a run, results/<run-id>, or any file in it.")],
    baseline: Annotated[
        str | None,
        typer.Option(
            help="What regress(...) is held against: a run, a baseline's file, or its name (--update-baseline)."
        ),
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(help="A run of an unchanged reference target, made in the same job as RUN.")
    ] = None,
    baseline_reference: Annotated[
        Path | None, typer.Option(help="The same for a --baseline that is a run; a stored one holds its own.")
    ] = None,
    expr: Annotated[
        list[str] | None, typer.Option("--expr", "-e", help="Judge by this instead of the config's slo and gate.")
    ] = None,
    update_baseline: Annotated[
        str | None, typer.Option(help="Store RUN as results/baselines/NAME.json (or as a path that ends in .json).")
    ] = None,
    format: Annotated[str | None, typer.Option("--format", "-f", help="terminal (the default), md or json.")] = None,
    output: Output = None,
    json: Json = False,
) -> None:
    """Judge a finished run by its own SLOs and gate, or by --expr.

    Example: harness gate results/<run-id> --baseline main --expr 'regress(ttft.p50) < 5%'

    Exit codes: 0 passed, 4 the run is invalid, 10 a limit failed, 11 regression, 12 inconclusive. Against one
    baseline without --reference, changes within what a machine drifts are advisory: told, but not in the exit code.
    """
    from harness.cli.told import tell
    from harness.errors import UsageError
    from harness.judge.expression import parse_all
    from harness.judge.regression import judge
    from harness.judge.subject import open_subject
    from harness.report import gate as telling

    subject = _with_reference(open_subject(run), reference)
    analysis = subject.analysis
    if analysis is None:
        raise UsageError(f"{run} is no run but a stored baseline or summary", remedy="name the folder of a run")
    expressions = parse_all(expr or [*analysis.terms.slo, *analysis.terms.gate])
    if baseline_reference is not None and baseline is None:
        raise UsageError("--baseline-reference belongs to a --baseline", remedy="add --baseline RUN")
    if baseline is None and expr and any(expression.regress for expression in expressions):
        raise UsageError("regress(...) needs a baseline to be held against", remedy="add --baseline RUN")
    other = None if baseline is None else _with_reference(open_subject(_place(baseline)), baseline_reference)
    report = judge(subject, analysis, expressions, other)
    if update_baseline is not None:
        report.notes.append(_update(subject, expressions, update_baseline))
    renderers = {"terminal": telling.text, "md": telling.markdown}
    tell(report, renderers, "json" if json else format, output)
    raise typer.Exit(report.exit_code)


def _with_reference(subject: Subject, reference: Path | None) -> Subject:
    from harness.judge.subject import open_subject

    return subject if reference is None else replace(subject, reference=open_subject(reference))


def _place(baseline: str) -> Path:
    """A path as it is; a bare name is that of a stored baseline."""
    from harness.errors import UsageError

    path, stored = Path(baseline), _BASELINES / f"{baseline}.json"
    if path.exists() or path.name != baseline:
        return path
    if not stored.is_file():
        known = ", ".join(sorted(one.stem for one in _BASELINES.glob("*.json")))
        raise UsageError(
            f"no baseline named {baseline} in {_BASELINES}{f'; there are {known}' if known else ''}",
            remedy=f"store one: harness gate RUN --update-baseline {baseline}",
        )
    return stored


def _update(subject: Subject, expressions: list[Expression], name: str) -> str:
    """Store the run. An invalid one is refused: it would judge all that come after it."""
    from harness.errors import UsageError
    from harness.judge.comparison import TERMS
    from harness.judge.subject import store
    from harness.judge.term import of_expression, term

    if subject.summary.validity.verdict == "invalid":
        raise UsageError(
            f"{subject.source} is invalid and can be no baseline", remedy=f"harness report {subject.source} says why"
        )
    path = Path(name) if name.endswith(".json") else _BASELINES / f"{name}.json"
    wanted = [*map(term, TERMS), *(of_expression(expression) for expression in expressions)]
    store(subject, wanted, path)
    return f"stored as the baseline {path}"
