"""Room: the command line. One file a verb; the only room that sees all others, and nobody imports it."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """The `harness` command. Errors of ours end in one line and their exit code, never in a traceback."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy is used for sorting: its threads only cost memory
    from harness.errors import ExitCode, HarnessError

    try:
        from harness.cli.app import app

        app()
    except HarnessError as error:
        print(f"✗ {error.message}", file=sys.stderr)
        if error.remedy:
            print(f"  {error.remedy}", file=sys.stderr)
        sys.exit(int(error.exit_code))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(int(ExitCode.INTERRUPTED))
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
