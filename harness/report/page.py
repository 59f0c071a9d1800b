"""The frame that all HTML pages share: one file, no network, light and dark, safe whatever it holds.

Foreign text is inert: the templates escape everything, data travels as JSON without `<`, and the page's content
security policy runs only the scripts and the style whose hashes it names.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import __version__
from harness.report.figures import amount, clean, whole
from harness.units import format_duration, format_number

if TYPE_CHECKING:
    from jinja2 import Environment

_ASSETS = Path(__file__).with_name("assets")


def page(template: str, data: Mapping[str, Any], *, version: str = __version__, **values: Any) -> str:
    """One page: `template` is a name in assets/ that extends base.html.j2, `data` the series of its charts,
    `version` that of the harness that measured.

    jinja2 is imported here, not before.
    """
    scripts = [_asset("uPlot.LICENSE", "/*\n", "*/\n") + _asset("uPlot.iife.min.js")]
    scripts += [_asset("report.js"), _asset("charts.js")]
    style = _asset("uPlot.min.css") + _asset("report.css")
    return (
        _environment()
        .get_template(template)
        .render(
            style=style,
            scripts=scripts,
            policy=_policy(scripts, style),
            data=_inert(data),
            version=version,
            **values,
        )
    )


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "clean": clean,
        "whole": whole,
        "number": format_number,
        "duration": format_duration,
        "amount": amount,
    }
    return environment


@cache
def _asset(name: str, before: str = "", after: str = "") -> str:
    return before + (_ASSETS / name).read_text(encoding="utf-8") + after


def _policy(scripts: list[str], style: str) -> str:
    """Nothing is fetched, and nothing runs but our own text."""

    def digest(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    run = " ".join(digest(text) for text in scripts)
    return f"default-src 'none'; script-src {run}; style-src {digest(style)}; base-uri 'none'; form-action 'none'"


def _inert(data: Mapping[str, Any]) -> str:
    """JSON that cannot end its element, whatever it holds."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
