"""Make the pictures of the documents: `python docs/images/make.py [results/<run-id>]`.

summary.svg is the terminal's summary of that run. It names no font of the net, so it is the same offline. report.png is
the top of an example page in a browser, where there is one; without a run only this picture is made.
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME

from harness.judge.evaluate import evaluate
from harness.records.folder import RunFolder
from harness.report.terminal import TerminalReport

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TOP = 1230  # pixels of the page that the picture holds


def report() -> None:
    """Photograph the top of the example."""
    sys.path.insert(0, str(ROOT))
    from tests.browser import Browser, find

    program = find()
    if program is None:
        print("no browser here: report.png stays as it is", file=sys.stderr)
        return
    with Browser(program) as browser:
        page = browser.open(ROOT / "results" / "examples" / "orchestrator.html", width=1180)
        page.picture(HERE / "report.png", most=TOP)


def summary(run: str) -> None:
    """Draw the summary of this run."""
    console = Console(
        record=True, width=104, file=io.StringIO(), force_terminal=True, color_system="standard", highlight=False
    )
    TerminalReport().show(evaluate(RunFolder.open(Path(run))), console)
    svg = console.export_svg(title="harness run configs/quickstart.yaml", theme=DEFAULT_TERMINAL_THEME)
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    svg = svg.replace("Fira Code, monospace", "DejaVu Sans Mono, Menlo, Consolas, monospace")
    (HERE / "summary.svg").write_text(svg + "\n")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        summary(sys.argv[1])
    report()
