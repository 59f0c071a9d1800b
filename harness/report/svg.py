"""A run on one card, as a picture: for READMEs, pull requests, slides and mail.

It names no font and no style of the net, so it is the same offline; where a page shows it as an image it follows the
light or dark setting of whoever looks. Every figure is that of the other reports.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.report.analysed import story_of
from harness.report.charts import Series, over_time
from harness.report.figures import amount
from harness.report.story import QUANTITIES, Line, Row, Story, Tone

if TYPE_CHECKING:
    from harness.metrics.analysis import Analysis

WIDTH = 800
_EDGE = 28
_BINS = 60
_CHART = (360, 76)  # width, height
_GAP = 10
_SHOWN: tuple[tuple[str, dict[str, str], str], ...] = (
    ("ttft over time", {"p50": "ttft_p50", "p95": "ttft_p95"}, "s"),
    ("output over time", {"output": "output_tokens_per_s"}, "tok/s"),
)
_LINES = ("line", "more")
_LETTERS = 112  # of the small text that fit beside each other
_FONTS = "system-ui, 'Segoe UI', 'Helvetica Neue', Arial, 'DejaVu Sans', 'Liberation Sans', 'Noto Sans', sans-serif"
_INVALID = re.compile("[\ufffe\uffff]")  # no XML may hold them

_STYLE = """text{fill:#1a2129}.paper{fill:#ffffff;stroke:#d8dee4}.soft{fill:#566270}.rule{stroke:#d8dee4}
.good{fill:#12703a}.warn{fill:#8a5a00}.bad{fill:#b3261e}.shade{fill:#566270;fill-opacity:.1}
.line{fill:none;stroke:#0b62c4;stroke-width:1.6}.more{fill:none;stroke:#b4460b;stroke-width:1.2}
.key-line{fill:#0b62c4}.key-more{fill:#b4460b}
@media (prefers-color-scheme:dark){text{fill:#e4e9ee}.paper{fill:#12171d;stroke:#323c47}.soft{fill:#a0abb7}
.rule{stroke:#323c47}.good{fill:#58c98a}.warn{fill:#e0ad4a}.bad{fill:#ff8a80}.line{stroke:#6db3ff}.more{stroke:#ff9d66}
.key-line{fill:#6db3ff}.key-more{fill:#ff9d66}}"""


class SvgReport:
    """Text stays text: it can be searched, and read aloud."""

    name = "svg"
    extension = "svg"

    def render(self, analysis: Analysis) -> str:
        """The picture."""
        story = story_of(analysis)
        card = _Card()
        _head(card, story)
        if story.rows:
            _table(card, story.rows)
        _charts(card, over_time(analysis, _BINS))
        for name in ("throughput", "cost", "energy"):
            if told := getattr(story, name):
                card.text(f"{name}  {told}", style="soft")
        return card.drawn(f"{story.name}: {story.verdict.text}")


class _Span(NamedTuple):
    """Words in a style. A span after another keeps some distance."""

    text: str
    size: int = 13
    style: str = ""
    bold: bool = False


class _Card:
    """Lines of text from the top down; `y` is where the last one ended."""

    def __init__(self) -> None:
        self.y = 14.0
        self.parts: list[str] = []

    def text(self, text: str, *, size: int = 13, style: str = "", bold: bool = False, most: int = _LETTERS) -> None:
        """One line below the last."""
        self.y += size * 1.55
        self.at(_EDGE, _Span(text if len(text) <= most else text[: most - 1].rstrip() + "…", size, style, bold))

    def at(self, x: float, *spans: _Span, end: bool = False) -> None:
        """Words on the present line, beginning or ending at `x`."""
        drawn = []
        for place, span in enumerate(spans):
            options = f'font-size="{span.size}"' + (f' class="{span.style}"' if span.style else "")
            options += (' font-weight="600"' if span.bold else "") + (f' dx="{_GAP}"' if place else "")
            drawn.append(f"<tspan {options}>{_inert(span.text)}</tspan>")
        anchor = ' text-anchor="end"' if end else ""
        self.parts.append(f'<text x="{x:g}" y="{self.y:.1f}"{anchor}>{"".join(drawn)}</text>')

    def drawn(self, title: str) -> str:
        height = round(self.y + 22)
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
                f'height="{height}" role="img" font-family="{_FONTS}">',
                f"<title>{_inert(title)}</title><style>{_STYLE}</style>",
                f'<rect class="paper" x=".5" y=".5" width="{WIDTH - 1}" height="{height - 1}" rx="6"/>',
                *self.parts,
                "</svg>\n",
            ]
        )


def _inert(text: str) -> str:
    return escape(_INVALID.sub("\ufffd", text))


def _head(card: _Card, story: Story) -> None:
    card.text(story.name, size=22, bold=True, most=54)
    card.y += 24
    verdicts = [line for line in (story.verdict, story.slo_verdict) if line is not None]
    card.at(_EDGE, *(_Span(_marked(line), 15, _tone(line.tone), bold=True) for line in verdicts))
    for line in [*story.warnings, *(slo for slo in story.slo if slo.code != "pass")][:4]:
        card.text(_marked(line), style=_tone(line.tone))
    card.y += 4
    for text in (story.target, story.asked, story.requests):
        if text:
            card.text(text, style="soft")


def _table(card: _Card, rows: Sequence[Row]) -> None:
    """The headline figures: value, and half its interval or why there is none."""
    columns = [220 + 190 * place for place in range(len(QUANTITIES))]
    card.y += 30
    for x, quantity in zip(columns, QUANTITIES, strict=True):
        card.at(x, _Span(quantity, 12, "soft"))
    for row in rows:
        card.y += 10
        card.parts.append(f'<path class="rule" d="M{_EDGE},{card.y:.1f}H{WIDTH - _EDGE}"/>')
        card.y += 20
        card.at(_EDGE, _Span(row.key, 14))
        for x, quantity in zip(columns, QUANTITIES, strict=True):
            told = row.figures[quantity]
            card.at(x, _Span(told.text, 15), _Span(told.spread or told.note, 12, "soft"))
    card.y += 10


def _charts(card: _Card, data: Mapping[str, Any] | None) -> None:
    """Latency and throughput over time, side by side; the time that is not measured is shaded."""
    if data is None:
        return
    width, height = _CHART
    card.y += 26
    top = card.y
    for place, (title, lines, unit) in enumerate(_SHOWN):
        series = [data["series"][name] for name in lines.values()]
        most = max((value for line in series for value in line if value is not None), default=0.0)
        x = _EDGE + place * (WIDTH - 2 * _EDGE - width)
        card.y = top
        names = [_Span(name, 12, f"key-{style}") for name, style in zip(lines, _LINES, strict=False) if len(lines) > 1]
        card.at(x, _Span(title, 12, "soft"), *names)
        card.at(x + width, _Span(f"0 … {amount(float(most), unit)}", 12, "soft"), end=True)
        card.parts += _outside(data, x, top + 8)
        for style, line in zip(_LINES, series, strict=False):
            card.parts += _curve(line, most, x, top + 8, style)
        card.parts.append(f'<path class="rule" d="M{x},{top + 8 + height:.1f}h{width}"/>')
    card.y = top + height + 16


def _outside(data: Mapping[str, Any], x: float, top: float) -> Iterator[str]:
    """Warm-up and drain."""
    width, height = _CHART
    end = data["x"][-1] + data["bin_s"] / 2
    for begin, until in ((0.0, data["window"][0]), (data["window"][1], end)):
        left, right = (min(1.0, max(0.0, second / end)) * width for second in (begin, until))
        if right > left:
            yield f'<rect class="shade" x="{x + left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{height}"/>'


def _curve(line: Series, most: float, x: float, top: float, style: str) -> Iterator[str]:
    """The known stretches of a series; a single value is a dash."""
    width, height = _CHART
    step = width / len(line)
    for known, stretch in groupby(enumerate(line), key=lambda item: item[1] is not None):
        if not known:
            continue
        points = [(x + (i + 0.5) * step, top + height - height * float(v or 0) / (most or 1)) for i, v in stretch]
        if len(points) == 1:
            points = [(points[0][0] - step / 2, points[0][1]), (points[0][0] + step / 2, points[0][1])]
        yield f'<path class="{style}" d="M{"L".join(f"{a:.1f},{b:.1f}" for a, b in points)}"/>'


def _marked(line: Line) -> str:
    return f"{line.mark} {line.text}"


def _tone(tone: Tone) -> str:
    return "" if tone == "plain" else tone
