"""Make the pictures of the documents from a run: `python docs/images/make.py results/<run-id>`.

summary.svg is the terminal's summary. It names no font of the net, so it is the same offline.
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

HERE = Path(__file__).parent


def main(run: str) -> None:
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
    main(sys.argv[1])
