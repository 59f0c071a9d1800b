"""JSON and CSV: the figures of summary.json and no others."""

import csv
import io

import msgspec

from harness.metrics.analysis import Analysis
from harness.metrics.summary import from_json, to_json
from harness.report.csv import HEADER, CsvReport
from harness.report.json import JsonReport


def test_json_is_the_summary_to_the_letter(analysis: Analysis) -> None:
    told = JsonReport().render(analysis)
    assert told == to_json(analysis.summary) + b"\n"
    assert from_json(told) == analysis.summary


def test_csv_has_a_row_a_metric_with_exact_values(analysis: Analysis) -> None:
    rows = list(csv.DictReader(io.StringIO(CsvReport().render(analysis))))
    assert [row["metric"] for row in rows] == list(analysis.summary.metrics)
    ttft = next(row for row in rows if row["metric"] == "ttft")
    stats = analysis.summary.metrics["ttft"]
    assert float(ttft["p50"]) == stats.p50
    assert (float(ttft["p50_low"]), float(ttft["p50_high"])) == stats.ci95["p50"]
    assert ttft["p99.9"] == "" and stats.p999 is None
    assert set(ttft) == set(HEADER)


def test_a_spreadsheet_takes_no_name_for_a_formula(analysis: Analysis) -> None:
    analysis.summary.run = msgspec.structs.replace(analysis.summary.run, name="=HYPERLINK(1)")
    row = next(csv.DictReader(io.StringIO(CsvReport().render(analysis))))
    assert row["name"] == "'=HYPERLINK(1)"
