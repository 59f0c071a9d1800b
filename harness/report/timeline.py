"""One session as text: its requests in order on a time axis, the critical path marked, its joins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.metrics.session_detail import JoinDetail, RequestDetail, SessionDetail
from harness.report.figures import clean, count, whole
from harness.units import format_duration, format_number, format_share

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 100
MOST_ROWS = 40

_LABEL, _BAR = 20, 38
_SIGNS = {"gap": "·", "lag": "╌", "prefill": "░", "decode": "█", "failed": "✗", "cancelled": "─"}
_WORDS = {
    "gap": "tools, thinking",
    "lag": "unsent",
    "prefill": "queue, prefill",
    "decode": "decode",
    "failed": "failed",
    "cancelled": "cancelled",
}
_STYLES = {"prefill": "yellow", "decode": "green", "failed": "red"}


@dataclass(frozen=True)
class Stretch:
    """Some text of a line; `kind` is what of a request it stands for, or `critical`, or empty."""

    text: str
    kind: str = ""


Line = list[Stretch]


def timeline(detail: SessionDetail) -> str:
    """The session as plain text, at most 100 columns wide."""
    return "".join("".join(part.text for part in line).rstrip() + "\n" for line in lay_out(detail))


def show(detail: SessionDetail, console: Console) -> None:
    """The same on a console: coloured on a terminal, unless NO_COLOR is set."""
    from rich.text import Text

    for line in lay_out(detail):
        text = Text()
        for part in line:
            text.append(part.text, "bold" if part.kind == "critical" else _STYLES.get(part.kind, ""))
        text.rstrip()
        console.print(text, soft_wrap=True, highlight=False)


def lay_out(detail: SessionDetail) -> Iterator[Line]:
    """The lines: what it is, where its time went, the requests, the joins."""
    yield from ([Stretch(f" {text}")] for text in _head(detail))
    yield []
    yield from _rows(detail)
    if detail.joins:
        yield []
        yield [Stretch(" Joins")]
        yield from ([Stretch(f"   {_join(join)}")] for join in detail.joins[:MOST_ROWS])
        if len(detail.joins) > MOST_ROWS:
            yield [Stretch(f"   {count(len(detail.joins) - MOST_ROWS, 'further join')} in --json")]


def _head(detail: SessionDetail) -> Iterator[str]:
    state = "failed" if detail.failed else "whole" if detail.whole else "cut short"
    kind = clean(detail.kind, 30)
    parts = [clean(detail.session, 40), kind, count(len(detail.requests), "request"), state, f"phase {detail.phase}"]
    yield " · ".join(part for part in parts if part)
    told = [f"makespan {format_duration(detail.makespan_s)}"]
    if detail.ttfat_s is not None:
        told.append(f"final answer begins after {format_duration(detail.ttfat_s)}")
    if detail.slowdown is not None:
        told.append(f"{format_number(detail.slowdown)} times as long as alone")
    yield " · ".join(told)
    path = detail.critical_path
    shares = {
        "queue+prefill": path.prefill_s,
        "decode": path.decode_s,
        "tools+think": path.gap_s,
        "client": path.lag_s,
    }
    split = [
        f"{name} {format_share(seconds / path.total_s, 2)}"
        for name, seconds in shares.items()
        if path.total_s > 0 and seconds > 0
    ]
    yield f"critical path {format_duration(path.total_s)}: {' · '.join(split)}"


def _rows(detail: SessionDetail) -> Iterator[Line]:
    length = max(detail.makespan_s, *(one.end_s for one in detail.requests), 1e-9)
    drawn = _chosen(detail.requests)
    bars = [_bar(one, length) for one in drawn]
    seen = {cell.kind for bar in bars for cell in bar}
    yield [Stretch(f" {'':{_LABEL + 2}} {_axis(length)} {'took':>8} {'ttft':>8}  in (cached) → out")]
    for one, bar in zip(drawn, bars, strict=True):
        mark = "▸" if one.critical else " "
        took = format_duration(one.end_s - one.ready_s)
        ttft = "–" if one.first_token_s is None else format_duration(one.prefill_s)
        label = f" {mark} {_short(one.node):{_LABEL}} "
        yield [
            Stretch(label, "critical" if one.critical else ""),
            *bar,
            Stretch(f" {took:>8} {ttft:>8}  {_tokens(one)}"),
        ]
    if left := len(detail.requests) - len(drawn):
        yield [Stretch(f"   {count(left, 'further request')} not drawn: --json tells all")]
    legend = [f"{_SIGNS[kind]} {_WORDS[kind]}" for kind in _SIGNS if kind in seen]
    yield [Stretch(f" ▸ critical path  {'  '.join(legend)}")]


def _chosen(requests: list[RequestDetail]) -> list[RequestDetail]:
    """All requests, or those of the critical path and the longest others, in their order."""
    if len(requests) <= MOST_ROWS:
        return requests
    path = [place for place, one in enumerate(requests) if one.critical][:MOST_ROWS]
    others = [place for place, one in enumerate(requests) if not one.critical]
    others = sorted(others, key=lambda place: requests[place].ready_s - requests[place].end_s)[: MOST_ROWS - len(path)]
    return [requests[place] for place in sorted([*path, *others])]


def _short(name: str) -> str:
    """The end of a long name tells more than its beginning: sub-agents of sub-agents begin alike."""
    name = clean(name)
    return name if len(name) <= _LABEL else "…" + name[-_LABEL + 1 :]


def _parts(one: RequestDetail) -> list[tuple[str, float, float]]:
    """Kind, begin and end of each stretch of a request, in seconds from the session's arrival."""
    sent = one.ready_s + one.lag_s
    token = sent + one.prefill_s
    whole_s = [("lag", one.ready_s, sent)]
    if one.status == "ok":
        whole_s += [("prefill", sent, token), ("decode", token, one.end_s)]
    else:
        whole_s.append((one.status, sent, one.end_s))
    return [("gap", one.ready_s - one.gap_s, one.ready_s), *whole_s]


def _bar(one: RequestDetail, length: float) -> Line:
    """The axis of the session, with what the request did at each place; what is shorter than a place shows where
    nothing longer does."""
    cells = [""] * _BAR
    for kind, begin, end in sorted(_parts(one), key=lambda part: part[2] - part[1]):
        if end <= begin:
            continue
        low = min(_BAR - 1, max(0, round(begin / length * _BAR)))
        high = max(low + 1, min(_BAR, round(end / length * _BAR)))
        for place in range(low, high):
            cells[place] = kind
    return [Stretch(_SIGNS.get(kind, " "), kind) for kind in cells]


def _axis(length: float) -> str:
    """The begin and the end of the axis."""
    end = format_duration(length)
    return f"0{end:>{_BAR - 1}}"


def _tokens(one: RequestDetail) -> str:
    if one.status != "ok":
        return clean(one.error or one.status, 24)
    cached = "" if one.cached_tokens is None else f" ({whole(one.cached_tokens)})"
    told = ["–" if number is None else whole(number) for number in (one.input_tokens, one.output_tokens)]
    return f"{told[0]}{cached} → {told[1]}"


def _join(join: JoinDetail) -> str:
    mark = "▸" if join.critical else " "
    parts = [
        f"{mark} {_short(join.node)}: {join.width} wide",
        f"slowest {_short(join.slowest)} {format_duration(join.slowest_s)},"
        f" {format_duration(join.straggler_s)} after median",
    ]
    if join.efficiency is not None:
        parts.append(f"efficiency {format_share(join.efficiency, 2)}")
    return " · ".join(parts)
