"""The card of a run as PNG, for where no SVG is taken: chats, slides, mail. Drawn by resvg, without a browser."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from resvg_py import svg_to_bytes

from harness import registry
from harness.errors import UsageError
from harness.report.protocol import GROUP

if TYPE_CHECKING:
    from harness.metrics.analysis import Analysis

_ZOOM = 2  # pixels a unit: sharp on screens of twice the density
_BLANK = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 20">{}</svg>'
_FAMILIES = ("DejaVu Sans", "Liberation Sans", "Noto Sans", "Arial", "Helvetica", "Segoe UI", "Open Sans", "FreeSans")


class PngReport:
    """The picture of the `svg` report, on white, at twice its size.

    Raises:
        UsageError: this machine has no font to write with; told when it is made, so before a run and not after.
    """

    name = "png"
    extension = "png"

    def __init__(self) -> None:
        self._font = _font()

    def render(self, analysis: Analysis) -> bytes:
        """The picture."""
        drawn: str = registry.load(GROUP, "svg")().render(analysis)
        return bytes(svg_to_bytes(svg_string=drawn, zoom=_ZOOM, sans_serif_family=self._font))


@cache
def _font() -> str:
    """A family that is here: without one the renderer leaves texts out and says nothing."""
    empty = svg_to_bytes(svg_string=_BLANK.format(""))
    for family in _FAMILIES:
        text = f'<text x="2" y="15" font-family="{family}">Mm</text>'
        if svg_to_bytes(svg_string=_BLANK.format(text)) != empty:
            return family
    raise UsageError(
        "no font here to draw a PNG with",
        remedy="install one (Debian, Ubuntu: apt install fonts-dejavu-core), or take --format svg",
    )
