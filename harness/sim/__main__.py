"""`python -m harness.sim JSON`: the simulated engine without the command line around it, for a quick start.

JSON holds the fields of `SimOptions`. What is started so behaves as `harness sim` does, and starts three times as fast.
"""

from __future__ import annotations

import sys

import msgspec

from harness.errors import HarnessError, UsageError
from harness.sim.options import SimOptions
from harness.sim.server import serve


def main(arguments: list[str]) -> int:
    """Serve until told to stop; the exit code. An error is told on stderr in one line."""
    try:
        if len(arguments) != 1:
            raise UsageError("give one argument: the options as a JSON object", remedy="see harness sim --help")
        try:
            options = msgspec.json.decode(arguments[0], type=SimOptions, dec_hook=lambda kind, value: kind(value))
        except msgspec.DecodeError as error:
            raise UsageError(f"the options are wrong: {error}") from error
        serve(options)
    except HarnessError as error:
        print(f"{error.message}. {error.remedy}".rstrip(". "), file=sys.stderr)
        return int(error.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
