"""A run in the text that Prometheus reads: one gauge a figure, with the interval's ends as gauges of their own.

Labels name the run's config and target, not the run itself, so that runs of one config make one series.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from harness.metrics.summary import Summary
from harness.report.figures import clean
from harness.report.measures import measures

_ILLEGAL = re.compile(r"[^a-zA-Z0-9_]")
_UNITS = {"s": "seconds", "share": "ratio", "/s": "per_second", "/h": "per_hour", "J": "joules", "tokens": "tokens"}
_VERDICTS = {"pass": 1, "fail": 0}


def families(summary: Summary) -> Iterator[str]:
    """The lines of all families: a TYPE each, then one sample with the labels of the run's config and target."""
    labels = _labels(summary)
    for one in measures(summary):
        unit = _UNITS.get(one.unit, one.unit.lower())
        base = "harness_" + _ILLEGAL.sub("_", one.name)
        name = base if base.endswith(f"_{unit}") or one.unit in ("/s", "/h") else f"{base}_{unit}"
        for suffix, value in (("", one.value), ("_low", one.low), ("_high", one.high)):
            if value is not None:
                full = f"{name}{suffix}"
                yield from (f"# TYPE {full} gauge", f"{full}{{{labels}}} {value!r}")
    yield from ("# TYPE harness_run_valid gauge", "# HELP harness_run_valid 1: valid or suspect, 0: invalid.")
    yield f"harness_run_valid{{{labels}}} {int(summary.validity.verdict != 'invalid')}"
    judged = [result for result in (*summary.slo, *summary.gate) if result.verdict in _VERDICTS]
    if judged:
        yield from ("# TYPE harness_slo_held gauge", "# HELP harness_slo_held 1: pass, 0: fail.")
        seen = {result.expr: _VERDICTS[result.verdict] for result in judged}
        yield from (f'harness_slo_held{{{labels},expr="{_escape(expr)}"}} {held}' for expr, held in seen.items())


def _labels(summary: Summary) -> str:
    told = {"name": summary.run.name, "engine": summary.target.engine, "model": summary.target.model}
    return ",".join(f'{key}="{_escape(clean(value, 200))}"' for key, value in told.items())


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
