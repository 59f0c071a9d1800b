from wsgiref.util import setup_testing_defaults

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as classic

from harness.live.exporter import Exporter
from harness.live.progress import Goal
from harness.records.snapshot import Health, LogHistogram, Snapshot

GOAL = Goal(
    name="agents",
    target='vllm · "tiny"',
    sessions=200,
    duration_s=60.0,
    limits={"ttft.p95": 0.5, "tpot.p99.9": 0.01, "error_rate": 0.01},
)


def histogram(*seconds: float) -> LogHistogram:
    made = LogHistogram()
    for value in seconds:
        made.add(value)
    return made


def snapshot(worker: int, **parts: object) -> Snapshot:
    return Snapshot(worker=worker, t_ns=4_000_000_000, phase="measure", **parts)  # type: ignore[arg-type]


def scrape(exporter: Exporter, accept: str = "text/plain") -> str:
    environ: dict[str, object] = {"HTTP_ACCEPT": accept}
    setup_testing_defaults(environ)
    return b"".join(exporter.app(environ, lambda status, headers: None)).decode()


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (one.name, tuple(sorted(one.labels.items()))): one.value for family in classic(text) for one in family.samples
    }


def test_workers_add_up_and_the_worst_health_counts() -> None:
    exporter = Exporter()
    exporter.describe("run-1", GOAL)
    exporter.update(
        [
            snapshot(0, requests_ok=3, output_tokens=40, errors={"timeout": 1}, health=Health(loop_lag_p99_s=0.25)),
            snapshot(1, requests_ok=4, output_tokens=2, errors={"timeout": 2}, health=Health(loop_lag_p99_s=0.5)),
        ]
    )
    told = samples(scrape(exporter))
    assert told["harness_workers", ()] == 2
    assert told["harness_elapsed_seconds", ()] == 4
    assert told["harness_requests_total", (("outcome", "ok"),)] == 7
    assert told["harness_tokens_total", (("direction", "output"),)] == 42
    assert told["harness_request_errors_total", (("error", "timeout"),)] == 3
    assert told["harness_client_loop_lag_p99_seconds", ()] == 0.5
    assert told["harness_phase", (("phase", "measure"),)] == 1
    assert told["harness_phase", (("phase", "warmup"),)] == 0


def test_the_run_its_plan_and_its_limits() -> None:
    exporter = Exporter()
    exporter.describe("run-1", GOAL)
    told = samples(scrape(exporter))
    labels = (("name", "agents"), ("run_id", "run-1"), ("simulated", "false"), ("target", 'vllm · "tiny"'))
    assert told["harness_run_info", labels] == 1
    assert told["harness_planned_sessions", ()] == 200
    assert told["harness_planned_seconds", ()] == 60
    assert told["harness_slo_limit_seconds", (("metric", "ttft"), ("quantile", "0.95"))] == 0.5
    assert told["harness_slo_limit_seconds", (("metric", "tpot"), ("quantile", "0.999"))] == 0.01
    assert sum(name == "harness_slo_limit_seconds" for name, _ in told) == 2


def test_before_the_first_snapshot_health_is_unknown_not_zero() -> None:
    exporter = Exporter()
    told = samples(scrape(exporter))
    assert told["harness_requests_sent_total", ()] == 0
    assert all(value == 0 for (name, _), value in told.items() if name == "harness_phase")
    assert not [name for name, _ in told if name.startswith(("harness_client", "harness_run_info", "harness_planned"))]


def test_without_kernel_stamps_there_is_no_kernel_delay() -> None:
    exporter = Exporter()
    exporter.update([snapshot(0)])
    assert "kernel_delay" not in scrape(exporter)
    exporter.update([snapshot(0, health=Health(kernel_delay_p99_s=0.001))])
    assert "harness_client_kernel_delay_p99_seconds 0.001" in scrape(exporter)


def test_buckets_are_exact_and_cumulative() -> None:
    values = (2e-6, 0.00099, 0.0011, 0.09, 0.11, 0.11, 99.0, 500.0)
    exporter = Exporter()
    exporter.update([snapshot(0, ttft=histogram(*values))])
    told = samples(scrape(exporter))
    buckets = {labels[0][1]: value for (name, labels), value in told.items() if name == "harness_ttft_seconds_bucket"}
    for bound in ("0.0001", "0.001", "0.1", "1.0", "100.0"):
        assert buckets[bound] == sum(value <= float(bound) for value in values)
    assert buckets["+Inf"] == len(values)
    ranked = [count for _, count in sorted(buckets.items(), key=lambda item: float(item[0]))]
    assert ranked == sorted(ranked)
    assert "harness_ttft_seconds_sum" not in dict(told)


def test_the_page_is_valid_openmetrics() -> None:
    exporter = Exporter()
    exporter.describe("run-1", GOAL)
    exporter.update([snapshot(0, ttft=histogram(0.1), errors={'http_500\n"': 1})])
    page = scrape(exporter, "application/openmetrics-text")
    families = {family.name: family for family in openmetrics(page)}
    assert families["harness_ttft_seconds"].type == "histogram"
    assert families["harness_request_errors"].samples[0].labels == {"error": 'http_500\n"'}
