"""`summary.json`, schema 1: every figure of a run, as public structs. Unknown is `None`, never 0."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from harness.metrics.session_figures import Amplification, JoinFigures, PrefixReuse, Slowdown
from harness.records.document import indented

SCHEMA = 1

Severity = Literal["info", "warning", "error"]
Verdict = Literal["valid", "suspect", "invalid"]
SloVerdict = Literal["pass", "fail", "inconclusive", "skipped"]  # only a gate without its baseline is skipped


class RunInfo(msgspec.Struct, kw_only=True):
    """Which run. `window_s` is the length of the measured window, `duration_s` of the whole load."""

    id: str = ""
    name: str = ""
    seed: int = 0
    started_at: str = ""
    duration_s: float = 0.0
    window_s: float = 0.0
    plan_sha256: str = ""


class TargetInfo(msgspec.Struct, kw_only=True):
    """Whom we asked."""

    backend: str = ""
    model: str = ""
    url: str = ""
    engine: str = ""
    engine_version: str | None = None
    simulated: bool = False


class SessionCounts(msgspec.Struct, kw_only=True):
    """`planned` is None where only a duration bounds a closed run."""

    planned: int | None = None
    finished: int = 0
    failed: int = 0


class RequestCounts(msgspec.Struct, kw_only=True):
    sent: int = 0
    ok: int = 0
    failed: int = 0
    by_error: dict[str, int] = {}


class Counts(msgspec.Struct, kw_only=True):
    """Of all sessions but those of the warm-up."""

    sessions: SessionCounts = msgspec.field(default_factory=SessionCounts)
    requests: RequestCounts = msgspec.field(default_factory=RequestCounts)


class MetricStats(msgspec.Struct, kw_only=True):
    """The distribution of one metric over the measured window.

    A percentile under its sample floor is None.
    """

    unit: str = "s"
    n: int = 0
    mean: float | None = None
    stddev: float | None = None
    min: float | None = None
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None
    p999: float | None = msgspec.field(default=None, name="p99.9")
    max: float | None = None
    n_eff: float | None = None
    ci95: dict[str, tuple[float, float]] = {}


class Rates(msgspec.Struct, kw_only=True):
    output_tokens_per_s: float | None = None
    total_tokens_per_s: float | None = None
    requests_per_s: float | None = None
    sessions_per_hour: float | None = None
    goodput_requests_per_s: float | None = None
    goodput_sessions_per_hour: float | None = None
    offered_sessions_per_s: float | None = None
    achieved_sessions_per_s: float | None = None


class Tokens(msgspec.Struct, kw_only=True):
    """Totals of the counted requests."""

    input: int | None = None
    cached_input: int | None = None
    output: int | None = None
    reasoning: int | None = None
    source: Literal["server", "tokenizer", "estimate"] | None = None
    cache_write: int | None = None


class WireFigures(msgspec.Struct, kw_only=True):
    """Bytes of all counted requests on the wire, headers included: `in` is what came from the server."""

    bytes_in: int = 0
    bytes_out: int = 0
    in_per_output_token: float | None = None
    out_per_output_token: float | None = None


class BreakEven(msgspec.Struct, kw_only=True):
    """The same sessions at a hosted model's price. `utilisation` is how busy one's own hardware must be to be the
    cheaper one (above 1 it never is), `utilisation_at_slo` the same where only sessions that met the SLOs count,
    `sessions_per_hour` what that is in sessions."""

    model: str
    per_1m_tokens: float | None = None
    per_session: float | None = None
    utilisation: float | None = None
    utilisation_at_slo: float | None = None
    sessions_per_hour: float | None = None
    prices: dict[str, float] = {}
    as_of: str | None = None
    source: str | None = None


class CostFigures(msgspec.Struct, kw_only=True):
    """`per_hour` is C_h of all hardware, `parts` what it is made of; `input_share` the share of it that is input's,
    found by `split`; `intervals` are 95 % bounds by field; `prices` those that were billed. `per_1m_output_bytes` lays
    the whole cost on the UTF-8 bytes of the answers. `inferencex` charges the whole hour to input *and* to output, as
    InferenceX does: two figures that must never be added."""

    currency: str = "USD"
    basis: Literal["gpu_hour", "owned", "price"] = "gpu_hour"
    method: str = ""
    as_of: str | None = None
    total: float | None = None
    per_1m_tokens: float | None = None
    per_1m_input_tokens: float | None = None
    per_1m_output_tokens: float | None = None
    per_1k_requests: float | None = None
    per_session: float | None = None
    per_good_session: float | None = None
    at_utilisation: dict[str, float | None] = {}
    at_slo: float | None = None
    ci95: tuple[float, float] | None = None
    per_hour: float | None = None
    parts: dict[str, float] = {}
    per_1m_output_bytes: float | None = None
    at_slo_utilisation: dict[str, float | None] = {}
    input_share: float | None = None
    split: str | None = None
    electricity_per_1m_tokens: float | None = None
    inferencex: dict[str, float | None] = {}
    intervals: dict[str, tuple[float, float]] = {}
    prices: dict[str, float] = {}
    source: str | None = None
    break_even: list[BreakEven] = []


class EnergyFigures(msgspec.Struct, kw_only=True):
    """Of the measured window. `joules` are those of the devices in `by_device`; `net_joules` are less what they draw
    idle, `facility_joules` times the PUE. gCO2 are those of the facility where a PUE is given."""

    joules: float | None = None
    j_per_output_token: float | None = None
    j_per_session: float | None = None
    j_per_good_session: float | None = None
    j_per_request: float | None = None
    watts: float | None = None
    idle_watts: float | None = None
    net_joules: float | None = None
    net_j_per_output_token: float | None = None
    pue: float | None = None
    facility_joules: float | None = None
    g_co2: float | None = None
    by_device: dict[str, float | None] = {}
    source: str = ""


class SloResult(msgspec.Struct, kw_only=True):
    expr: str
    verdict: SloVerdict
    value: float | None = None
    limit: float | None = None
    ci95: tuple[float, float] | None = None
    reason: str = ""


class Finding(msgspec.Struct, kw_only=True):
    """Something to know about the run, as data. `limit` is what `value` was held against."""

    code: str
    severity: Severity
    message: str
    value: float | str | None = None
    limit: float | str | None = None
    remedy: str = ""


class Validity(msgspec.Struct, kw_only=True):
    verdict: Verdict = "valid"
    findings: list[Finding] = []


class KindFigures(msgspec.Struct, kw_only=True):
    """One kind of a mix."""

    kind: str
    sessions: int = 0
    requests: int = 0
    failed: int = 0
    metrics: dict[str, MetricStats] = {}


class SessionFigures(msgspec.Struct, kw_only=True):
    """`straggler_share` is the part of the critical paths by which slowest branches outlasted the median ones; `kinds`
    only where there are several."""

    prefix_reuse: PrefixReuse = msgspec.field(default_factory=PrefixReuse)
    amplification: Amplification = msgspec.field(default_factory=Amplification)
    joins: list[JoinFigures] = []
    straggler_share: float | None = None
    kinds: list[KindFigures] = []
    slowdown: Slowdown = msgspec.field(default_factory=Slowdown)


class Summary(msgspec.Struct, kw_only=True):
    schema: int = SCHEMA
    run: RunInfo = msgspec.field(default_factory=RunInfo)
    target: TargetInfo = msgspec.field(default_factory=TargetInfo)
    counts: Counts = msgspec.field(default_factory=Counts)
    metrics: dict[str, MetricStats] = {}
    rates: Rates = msgspec.field(default_factory=Rates)
    rates_ci95: dict[str, tuple[float, float]] = {}
    tokens: Tokens = msgspec.field(default_factory=Tokens)
    cost: CostFigures | None = None
    energy: EnergyFigures | None = None
    slo: list[SloResult] = []
    gate: list[SloResult] = []
    validity: Validity = msgspec.field(default_factory=Validity)
    server: dict[str, Any] | None = None  # the engine's own figures over the same window, where it gives any
    wire: WireFigures | None = None
    sessions: SessionFigures | None = None


def to_json(summary: Summary) -> bytes:
    """Indented JSON, as it lies in the run's folder."""
    return indented(summary)


from_json = msgspec.json.Decoder(Summary).decode
