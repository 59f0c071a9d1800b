"""The language of SLOs: what is written, what is meant, what is refused and why."""

from __future__ import annotations

import contextlib
import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harness.errors import ExpressionError
from harness.judge.expression import Expression, parse, parse_all
from harness.metrics.catalogue import METRICS, SCALARS
from harness.metrics.table import LABELS


@pytest.mark.parametrize(
    ("text", "metric", "stat", "operator", "limit"),
    [
        ("ttft.p95 < 500ms", "ttft", "p95", "<", 0.5),
        ("tpot.p95 <= 50ms", "tpot", "p95", "<=", 0.05),
        ("ttft.p99.9<2s", "ttft", "p99.9", "<", 2.0),
        ("ttft.mean < 0.5", "ttft", "mean", "<", 0.5),
        ("error_rate < 1%", "error_rate", None, "<", 0.01),
        ("session.makespan.p95 < 30s", "session.makespan", "p95", "<", 30.0),
        ("session.critical_path.decode.p50 < 1m", "session.critical_path.decode", "p50", "<", 60.0),
        ("goodput_sessions_per_hour > 120", "rates.goodput_sessions_per_hour", None, ">", 120.0),
        ("rates.goodput_sessions_per_hour >= 2/m", "rates.goodput_sessions_per_hour", None, ">=", 120.0),
        ("rates.output_tokens_per_s > 1.2k", "rates.output_tokens_per_s", None, ">", 1200.0),
        ("rates.requests_per_s > 300/m", "rates.requests_per_s", None, ">", 5.0),
        ("cost.per_session < 0.004", "cost.per_session", None, "<", 0.004),
        ("cost.per_1m_tokens < $0.05", "cost.per_1m_tokens", None, "<", 0.05),
        ("interactivity.p50 > 30", "interactivity", "p50", ">", 30.0),
        ("session.parallel_efficiency.mean > 60%", "session.parallel_efficiency", "mean", ">", 0.6),
        ("output_tokens.max <= 1k", "output_tokens", "max", "<=", 1000.0),
    ],
)
def test_what_is_written_is_meant(text: str, metric: str, stat: str | None, operator: str, limit: float) -> None:
    told = parse(text)
    assert (told.metric, told.stat, told.operator, told.regress) == (metric, stat, operator, False)
    assert told.limit == pytest.approx(limit)
    assert told.text == text


def test_labels() -> None:
    told = parse(" ttft{kind=chat, agent=planner-1}.p95 < 1s ")
    assert told.labels == (("kind", "chat"), ("agent", "planner-1"))
    assert (told.metric, told.stat, told.quantile) == ("ttft", "p95", 0.95)
    assert parse("session.makespan{kind=chat}.p50 < 1s").metric == "session.makespan"


def test_regressions() -> None:
    told = parse("regress(ttft{kind=chat}.p50) < 5%")
    assert told.regress
    assert (told.metric, told.stat, told.limit) == ("ttft", "p50", 0.05)
    assert parse("regress( cost.per_session ) <= 0.1").metric == "cost.per_session"


@pytest.mark.parametrize(
    ("text", "problem", "remedy"),
    [
        ("ttft.p95", "is no comparison", "ttft.p95 < 500ms"),
        ("", "is no comparison", ""),
        ("ttft.p95 < 1s < 2s", "is no comparison", ""),
        ("ttfd.p95 < 1s", "unknown metric 'ttfd'", "ttft"),
        ("session.makespam.p95 < 1s", "unknown metric 'session.makespam'", "session.makespan"),
        ("latency_of_everything_here.p95 < 1s", "unknown metric", "known: ttft"),
        ("ttft.p9x < 1s", "unknown stat 'p9x'", "ttft.p9"),
        ("ttft.median < 1s", "unknown stat 'median'", "ttft."),
        ("ttft.p100 < 1s", "p100 is no percentile", "below p100"),
        ("ttft.p0 < 1s", "p0 is no percentile", "above p0"),
        ("ttft < 1s", "ttft needs a stat", "ttft.p95"),
        ("error_rate.p95 < 1%", "has no p95", "write error_rate"),
        ("error_rate{kind=chat} < 1%", "takes no labels", "leave"),
        ("ttft.p95 < 5%", "'5%' does not fit", "500ms"),
        ("ttft.p95 < -1s", "does not fit", "duration"),
        ("error_rate < 500ms", "does not fit", "1%"),
        ("rates.requests_per_s > 5s", "does not fit", "/s"),
        ("cost.per_session < cheap", "does not fit", "0.004"),
        ("output_tokens.p50 > 5ms", "does not fit", "1.2k"),
        ("ttft{knd=chat}.p95 < 1s", "unknown label 'knd'", "kind"),
        ("ttft{kind}.p95 < 1s", "has no value", "kind=chat"),
        ("ttft.p95{kind=chat} < 1s", "wrong place", "ttft{kind=chat}.p95"),
        ("tt ft.p95 < 1s", "which is no metric", ""),
        ("regress(ttft.p50) > 5%", "from below", "< 5%"),
        ("regress(ttft.p50) < 5ms", "does not fit", "5%"),
        ("regress() < 5%", "which is no metric", ""),
    ],
)
def test_what_is_refused_and_why(text: str, problem: str, remedy: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert problem in caught.value.message
    assert remedy in caught.value.remedy


def test_a_list_is_refused_at_its_first_fault() -> None:
    assert len(parse_all(["ttft.p95 < 1s", "error_rate < 1%"])) == 2
    with pytest.raises(ExpressionError, match="ttfx"):
        parse_all(["ttft.p95 < 1s", "ttfx.p95 < 1s"])


STATS = st.sampled_from(["mean", "min", "max", "stddev"]) | st.integers(1, 99).map("p{}".format)
VALUES = st.text(string.ascii_letters + string.digits + "-_.", min_size=1, max_size=8)


@given(
    metric=st.sampled_from(sorted(METRICS)),
    stat=STATS,
    labels=st.lists(st.tuples(st.sampled_from(LABELS), VALUES), max_size=3),
    operator=st.sampled_from(["<", "<=", ">", ">="]),
    number=st.integers(0, 10**6),
    space=st.sampled_from(["", " ", "  "]),
)
def test_every_metric_can_be_written(
    metric: str, stat: str, labels: list[tuple[str, str]], operator: str, number: int, space: str
) -> None:
    inner = ",".join(f"{label}={value}" for label, value in labels)
    told = parse(f"{metric}{f'{{{inner}}}' if labels else ''}.{stat}{space}{operator}{space}{number}")
    assert (told.metric, told.stat, told.labels, told.operator) == (metric, stat, tuple(labels), operator)
    assert told.limit == number


@given(scalar=st.sampled_from(sorted(SCALARS)), number=st.floats(0, 1e9, allow_subnormal=False))
def test_every_scalar_can_be_written(scalar: str, number: float) -> None:
    assume("/" not in repr(number))
    told = parse(f"{scalar} < {number!r}")
    assert told.metric.endswith(scalar) and told.stat is None
    assert told.limit == pytest.approx(number)


@given(st.text(max_size=40))
def test_nothing_else_is_ever_raised(text: str) -> None:
    try:
        told = parse(text)
    except ExpressionError:
        return
    assert isinstance(told, Expression)


@given(st.text("tfp95.<>=ms{}()%kind, _", max_size=30))
def test_nothing_else_is_raised_near_the_grammar(text: str) -> None:
    with contextlib.suppress(ExpressionError):
        assert parse(text).limit >= 0
