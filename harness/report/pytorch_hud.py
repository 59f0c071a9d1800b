"""JSON for the PyTorch OSS benchmark database, which the PyTorch HUD shows.

One object a figure with `benchmark`, `model` and `metric`, in a list. Fields after the table
clickhouse_db_schema/oss_ci_benchmark_v3/schema.sql of https://github.com/pytorch/test-infra and what vLLM writes
(`convert_to_pytorch_benchmark_format`); both name the wiki page "How to integrate with PyTorch OSS benchmark database"
of pytorch/pytorch as their source. Repository, commit, job and runners are added by the action that uploads
(pytorch/test-infra/.github/actions/upload-benchmark-results). Not checked against the database itself, which takes
uploads of its own projects only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.judge.expression import parse
from harness.judge.term import of_expression
from harness.metrics.summary import Summary
from harness.records.document import indented
from harness.report.figures import clean
from harness.report.measures import Measure, measures

if TYPE_CHECKING:
    from harness.metrics.analysis import Analysis


class PyTorchHudReport:
    """A record for each figure; `target_value` is the SLO on that very figure, where there is one."""

    name = "pytorch-hud"
    extension = "json"

    def render(self, analysis: Analysis) -> str:
        """The whole list. All of `extra_info` is text: the database keeps it as a map of strings."""
        summary = analysis.summary
        targets = _targets(summary)
        records = [_record(summary, one, targets.get(one.name)) for one in measures(summary)]
        return indented(records).decode() + "\n"


def _record(summary: Summary, one: Measure, target: float | None) -> dict[str, Any]:
    run, engine = summary.run, summary.target.engine or summary.target.backend
    extra = {"unit": one.unit, "better": "higher" if one.higher_is_better else "lower"}
    if one.low is not None and one.high is not None:
        extra |= {"ci95_low": repr(one.low), "ci95_high": repr(one.high)}
    metric: dict[str, Any] = {"name": one.name, "benchmark_values": [one.value], "extra_info": extra}
    if target is not None:
        metric["target_value"] = target
    about = {"run": run.id, "started_at": run.started_at, "seed": str(run.seed), "plan_sha256": run.plan_sha256}
    return {
        "benchmark": {
            "name": f"harness {clean(run.name or run.id, 200)}",
            "mode": "inference",
            "extra_info": {**about, "verdict": summary.validity.verdict},
        },
        "model": {"name": clean(summary.target.model, 200), "type": "LLM", "backend": clean(engine, 200)},
        "dependencies": {clean(engine, 200) or "engine": {"version": clean(summary.target.engine_version or "")}},
        "metric": metric,
    }


def _targets(summary: Summary) -> dict[str, float]:
    """The limit by the name of the figure that it is set on."""
    found = {}
    for result in summary.slo:
        expression = parse(result.expr)
        if not expression.regress:
            found[of_expression(expression).name.removeprefix("rates.")] = expression.limit
    return found
