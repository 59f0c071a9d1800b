"""The language of SLOs and gates.

    expression  = comparison [ "abort" ] | regression
    comparison  = term operator quantity
    regression  = "regress" "(" term ")" ( "<" | "<=" ) share
    term        = metric [ labels ] "." stat  |  scalar
    labels      = "{" label "=" value { "," label "=" value } "}"
    stat        = "mean" | "min" | "max" | "stddev" | "p" number          ; 0 < number < 100
    operator    = "<" | "<=" | ">" | ">="
    quantity    = duration | share | count | rate | money                 ; by the unit of the term

    ttft.p95 < 500ms            ttft{agent=planner}.p95 < 1s        session.makespan.p95 < 30s
    error_rate < 1%             rates.output_tokens_per_s > 1.2k    cost.per_session < $0.004
    regress(ttft.p50) < 5%

`abort` ends the run as soon as the limit is surely broken: a percentile of ttft, tpot or e2e below a limit, or
error_rate.

Metrics and scalars are those of `harness.metrics.catalogue`. A bare number for a metric in seconds is seconds.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from typing import Literal, NoReturn, cast

import msgspec

from harness.errors import ExpressionError
from harness.metrics.catalogue import METRICS, SCALARS
from harness.metrics.table import LABELS
from harness.units import parse_count, parse_duration, parse_rate, parse_share

Operator = Literal["<", "<=", ">", ">="]

_STAT = re.compile(r"\.(mean|min|max|stddev|p\d+(?:\.\d+)?)$")
_COMPARISON = re.compile(r"^(?P<left>[^<>=]*(?:\{[^}]*\})?[^<>=]*?)\s*(?P<operator><=|>=|<|>)\s*(?P<right>[^<>=]+)$")
_TERM = re.compile(r"^(?P<name>[A-Za-z0-9_.]+?)(?:\{(?P<labels>[^{}]*)\}(?P<rest>\.[A-Za-z0-9_.]+)?)?$")
_ABORT = re.compile(r"\s+abort\s*$")
_LIVE = ("ttft", "tpot", "e2e")
_REGRESS = re.compile(r"^regress\s*\(\s*(?P<term>[^()]*?)\s*\)$")
_COMMON_STATS = ("mean", "min", "max", "stddev", "p50", "p90", "p95", "p99", "p99.9")


class Expression(msgspec.Struct, frozen=True, kw_only=True):
    """One parsed and type-checked expression.

    `stat` is None for scalars. `limit` is in the unit of the term (seconds, fraction, tokens, money, per second or
    per hour as the scalar's name says); for a regression it is the allowed relative change.
    """

    text: str
    metric: str
    stat: str | None
    labels: tuple[tuple[str, str], ...] = ()
    operator: Operator
    limit: float
    regress: bool = False
    abort: bool = False

    @property
    def quantile(self) -> float | None:
        """0..1 where the stat is a percentile."""
        return float(self.stat[1:]) / 100 if self.stat and self.stat[0] == "p" else None

    @property
    def unit(self) -> str:
        return METRICS[self.metric].unit if self.metric in METRICS else SCALARS[self.metric]


def parse_all(texts: Sequence[str]) -> list[Expression]:
    """Every expression of a list. Raises ExpressionError at the first that is wrong."""
    return [parse(text) for text in texts]


def parse(text: str) -> Expression:
    """The expression in `text`.

    Raises:
        ExpressionError: it does not follow the grammar, names an unknown metric, stat or label (the nearest one is
            named), or its quantity does not fit the unit.
    """
    bare = _ABORT.sub("", text.strip())
    abort = bare != text.strip()
    match = _COMPARISON.match(bare)
    if not match:
        _fail(text, "is no comparison", "write it as: ttft.p95 < 500ms")
    left, operator, right = match["left"].strip(), cast(Operator, match["operator"]), match["right"].strip()
    regress = _REGRESS.match(left)
    if regress:
        if operator not in {"<", "<="}:
            _fail(text, "limits a regression from below", "write it as: regress(ttft.p50) < 5%")
        metric, labels, stat = _term(text, regress["term"])
        limit = _quantity(text, right, parse_share, "a share such as 5%")
    else:
        metric, labels, stat = _term(text, left)
        limit = _quantity(text, right, *_reader(METRICS[metric].unit if metric in METRICS else SCALARS[metric]))
    live = metric in _LIVE and stat is not None and stat[0] == "p" and not labels
    if abort and (regress or operator not in {"<", "<="} or not (live or metric == "error_rate")):
        _fail(text, "cannot be watched while the run goes", "abort takes ttft.p95 < 2s, tpot, e2e, or error_rate < 5%")
    return Expression(
        text=text.strip(),
        metric=metric,
        stat=stat,
        labels=labels,
        operator=operator,
        limit=limit,
        regress=bool(regress),
        abort=abort,
    )


def _term(text: str, term: str) -> tuple[str, tuple[tuple[str, str], ...], str | None]:
    match = _TERM.match(term)
    if not match:
        _fail(text, f"holds {term!r}, which is no metric", "write it as: ttft.p95, or ttft{kind=chat}.p95")
    whole = match["name"] + (match["rest"] or "")
    labels = _labels(text, match["labels"])
    if whole in SCALARS:
        if labels:
            _fail(text, f"{whole} is one figure of the whole run and takes no labels", "leave {...} out")
        return _canonical(whole), (), None
    stat = _STAT.search(whole)
    name = whole[: stat.start()] if stat else whole
    if name in SCALARS:
        _fail(text, f"{name} is one figure of the whole run and has no {whole[len(name) + 1 :]}", f"write {name}")
    if name not in METRICS:
        _unknown(text, name)
    if stat is None:
        _fail(text, f"{name} needs a stat", f"write {name}.p95 (mean, min, max, stddev, p50, p90, ... are stats)")
    if match["labels"] is not None and match["name"] != name:
        _fail(text, "labels stand in the wrong place", f"write {name}{{{match['labels']}}}{stat[0]}")
    if stat[1][0] == "p" and not 0 < float(stat[1][1:]) < 100:
        _fail(text, f"{stat[1]} is no percentile", "it must lie above p0 and below p100")
    return name, labels, stat[1]


def _canonical(scalar: str) -> str:
    return f"rates.{scalar}" if f"rates.{scalar}" in SCALARS else scalar


def _labels(text: str, labels: str | None) -> tuple[tuple[str, str], ...]:
    if labels is None:
        return ()
    pairs = []
    for pair in labels.split(","):
        label, equals, value = (part.strip() for part in pair.partition("="))
        if not equals or not value:
            _fail(text, f"label {pair.strip()!r} has no value", "write it as: ttft{kind=chat}.p95")
        if label not in LABELS:
            near = difflib.get_close_matches(label, LABELS, n=1) or [", ".join(LABELS)]
            _fail(text, f"unknown label '{label}'", f"did you mean {near[0]}?")
        pairs.append((label, value))
    return tuple(pairs)


def _unknown(text: str, name: str) -> NoReturn:
    """Name what is nearest: a stat of a known metric, or another metric."""
    metric, _, last = name.rpartition(".")
    if metric in METRICS:
        near = difflib.get_close_matches(last, _COMMON_STATS, n=1, cutoff=0.3) or list(_COMMON_STATS)
        _fail(text, f"unknown stat '{last}'", f"did you mean {metric}.{near[0]}?")
    names = [*METRICS, *SCALARS]
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    _fail(
        text,
        f"unknown metric '{name}'",
        f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(METRICS)}",
    )


def _reader(unit: str) -> tuple[Callable[[str], float], str]:
    """How a quantity of this unit is read, and how to say so."""
    if unit == "s":
        return parse_duration, "a duration such as 500ms"
    if unit == "share":
        return parse_share, "a share such as 1%"
    if unit in {"/s", "/h"}:
        scale = 3600 if unit == "/h" else 1
        return lambda text: parse_rate(text) * scale if "/" in text else parse_count(text), f"a number {unit}"
    if unit == "money":
        return lambda text: parse_count(text.lstrip("$€£¥ ")), "an amount such as 0.004"
    return parse_count, "a number such as 1.2k"


def _quantity(text: str, quantity: str, reader: Callable[[str], float], wanted: str) -> float:
    try:
        return reader(quantity)
    except ValueError:
        _fail(text, f"{quantity!r} does not fit", f"the limit must be {wanted}")


def _fail(text: str, problem: str, remedy: str) -> NoReturn:
    raise ExpressionError(f"{text.strip()!r}: {problem}", remedy=remedy)
