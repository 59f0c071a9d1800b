"""Formats of other projects, read back by their own validators and parsers where these are on a registry."""

from __future__ import annotations

import csv
import io
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pyarrow.parquet as pq
import pytest
import yaml
from llmd_benchmark_report import load_benchmark_report
from prometheus_client.parser import text_string_to_metric_families

from harness.errors import MissingExtra, ResultsError, UsageError
from harness.metrics.analysis import Analysis
from harness.metrics.summary import Summary
from harness.records.record import Record
from harness.report.llmd import LlmdReport
from harness.report.otava import OtavaReport
from harness.report.outputs import Outputs
from harness.report.parquet import ParquetReport
from harness.report.pushgateway import PushgatewayReport
from harness.report.pytorch_hud import PyTorchHudReport
from harness.report.series import HEADER


def test_llmd_is_taken_by_its_own_validator(analysis: Analysis) -> None:
    document = yaml.safe_load(LlmdReport().render(analysis))
    report = load_benchmark_report(document)
    assert report.version == "0.2.1"
    assert report.run.uid == analysis.summary.run.id
    aggregate = report.results.request_performance.aggregate
    ttft = analysis.summary.metrics["ttft"]
    assert aggregate.latency.time_to_first_token.p95 == ttft.p95
    assert aggregate.latency.time_per_output_token.units == "s/token"
    assert aggregate.requests.total == analysis.summary.counts.requests.sent
    assert aggregate.requests.input_length.mean == analysis.summary.metrics["input_tokens"].mean
    assert aggregate.throughput.output_token_rate.mean == analysis.summary.rates.output_tokens_per_s
    assert report.results.session_performance.sessions.succeeded == 60
    assert report.scenario.load.native.config["workload"]["kind"] == "map_reduce"


def test_llmd_leaves_out_what_is_not_known(analysis: Analysis, summary: Summary) -> None:
    summary.metrics = {}
    document = yaml.safe_load(LlmdReport().render(replace(analysis, summary=summary)))
    load_benchmark_report(document)
    assert document["results"]["request_performance"]["aggregate"]["latency"] == {}
    assert "load" not in document["scenario"]


def test_pytorch_hud(analysis: Analysis, summary: Summary) -> None:
    """The columns of the database's table: strings where it has maps of strings, a list of numbers as values."""
    records = json.loads(PyTorchHudReport().render(replace(analysis, summary=summary)))
    told = {record["metric"]["name"]: record for record in records}
    p95 = told["ttft.p95"]
    assert p95["metric"]["benchmark_values"] == [0.4021]
    assert p95["metric"]["target_value"] == 0.5
    assert "target_value" not in told["ttft.p50"]["metric"]
    assert p95["model"] == {"name": "Llama-3.1-8B", "type": "LLM", "backend": "vllm"}
    for record in records:
        assert set(record) == {"benchmark", "model", "dependencies", "metric"}
        assert set(record["benchmark"]) == {"name", "mode", "extra_info"}
        for extra in (record["benchmark"]["extra_info"], record["metric"]["extra_info"]):
            assert all(isinstance(value, str) for value in extra.values())


def test_otava_reads_a_header_and_a_row(analysis: Analysis, summary: Summary) -> None:
    summary.run.started_at = "2026-11-21T08:34:00Z"
    header, *rows = csv.reader(io.StringIO(OtavaReport().render(replace(analysis, summary=summary))))
    assert tuple(header) == HEADER
    (row,) = rows
    told = dict(zip(header, row, strict=True))
    assert told["time"] == "2026-11-21T08:34:00Z"
    assert float(told["ttft.p50"]) == 0.1764
    assert float(told["output_tokens_per_s"]) == 4790
    assert told["e2e.p50"] == ""


def test_parquet_holds_every_record(analysis: Analysis, records: list[Record]) -> None:
    table = pq.read_table(io.BytesIO(ParquetReport().render(analysis)))
    assert table.num_rows == len(records)
    assert set(table.column_names) == {"run", "name", *Record.__struct_fields__}
    told = {row["id"]: row for row in table.to_pylist()}
    for record in records[:50]:
        row = told[record.id]
        assert row["run"] == "run"
        assert (row["sent_ns"], row["output_tokens"], row["status"]) == (record.sent_ns, record.output_tokens, "ok")
        assert (row["after"], row["chunk_us"], row["error"]) == (record.after, record.chunk_us, None)


def test_parquet_without_records_has_no_rows(analysis: Analysis) -> None:
    assert pq.read_table(io.BytesIO(ParquetReport().render(replace(analysis, folder=None)))).num_rows == 0


class Gateway(BaseHTTPRequestHandler):
    """What a Pushgateway does as far as a client can see: PUT to /metrics/job/..., 200, or 400 with a reason."""

    seen: list[tuple[str, str | None, str, str | None]]
    answer = 200

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        self.seen.append((self.path, self.headers["content-type"], body, self.headers["authorization"]))
        self.send_response(self.answer)
        self.end_headers()
        self.wfile.write(b"" if self.answer == 200 else b"pushed metrics are invalid")

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def gateway(answer: int = 200) -> Iterator[tuple[str, list[tuple[str, str | None, str, str | None]]]]:
    handler = type("Handler", (Gateway,), {"answer": answer, "seen": []})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}", handler.seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_pushgateway_is_put_to(analysis: Analysis, summary: Summary) -> None:
    run = replace(analysis, summary=summary)
    with gateway() as (place, seen):
        (output,) = Outputs.parse([f"pushgateway=http://me:secret@{place}/"]).outputs
        output.write(run)
        assert "secret" not in output.done and place in output.done
        PushgatewayReport().push(run, f"http://{place}/metrics/job/mine/team/a")
    (path, kind, body, credentials), (own, *_) = seen
    assert path == "/metrics/job/harness/name@base64/YWdlbnRzLW9uLXZsbG0"
    assert own == "/metrics/job/mine/team/a"
    assert kind == "text/plain; version=0.0.4; charset=utf-8"
    assert credentials == "Basic bWU6c2VjcmV0"
    found = {family.name: family for family in text_string_to_metric_families(body)}
    (sample,) = found["harness_ttft_p50_seconds"].samples
    assert (sample.value, sample.timestamp) == (0.1764, None)


def test_a_gateway_that_refuses_is_told_with_its_reason(analysis: Analysis) -> None:
    with gateway(400) as (place, _), pytest.raises(ResultsError, match="refused the push with 400: pushed metrics"):
        PushgatewayReport().push(analysis, f"http://{place}")
    with pytest.raises(ResultsError, match=r"cannot push to http://127.0.0.1:1/metrics/job/harness") as error:
        PushgatewayReport().push(analysis, "http://me:secret@127.0.0.1:1")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("asked", "words"),
    [("pushgateway=gateway:9091", "is no URL"), ("json=http://127.0.0.1/x", "it is a URL")],
)
def test_urls_and_files_are_not_mixed_up(asked: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Outputs.parse([asked])


def test_parquet_without_its_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "harness.report.parquet", raising=False)
    with pytest.raises(MissingExtra) as error:
        Outputs.parse(["parquet=x.parquet"])
    assert error.value.remedy == "pip install 'inference-harness[parquet]'"
