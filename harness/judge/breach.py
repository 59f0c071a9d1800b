"""Is an SLO broken already, while the run still goes? For expressions marked `abort`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from harness.judge.expression import Expression
from harness.metrics.intervals import binomial_cdf
from harness.metrics.quantiles import sample_floor
from harness.metrics.summary import SloResult
from harness.records.manifest import Manifest
from harness.records.snapshot import BINS_PER_DECADE, LogHistogram, Snapshot
from harness.units import format_share

ABORTED = "aborted"  # the code of the finding
DOUBT = 1e-4  # at each of some hundred looks
LEAST = 20  # requests
_SPARE = 1.5  # times the floor of a percentile: the ends of the load are no part of the measured window

_LOWEST_S = 1e-6
_NOTHING = Snapshot(worker=-1, t_ns=0)


class Breach:
    """Watches the snapshots of all workers. What ended before a worker was warm is left out. There must be samples
    enough for the records to tell the same afterwards."""

    def __init__(self, expressions: Sequence[Expression]) -> None:
        self._watched = [expression for expression in expressions if expression.abort]
        self._cold: dict[int, Snapshot] = {}  # the last of each worker's warm-up

    def found(self, snapshots: Sequence[Snapshot]) -> str | None:
        """Which SLO is surely broken, in words; None while none is.

        Surely: if a share 1 - q exceeded the limit of a q quantile, or the limit of `error_rate` failed, so many of the
        requests so far would with a chance of 1 in 10,000 at most. Failures exceed every limit.
        """
        if not self._watched:
            return None
        for one in snapshots:
            if one.phase == "warmup":
                self._cold[one.worker] = one
        known = [(self._cold.get(one.worker, _NOTHING), one) for one in snapshots if one.phase != "warmup"]
        failed = sum(now.requests_failed - before.requests_failed for before, now in known)
        for expression in self._watched:
            if expression.quantile is None:
                ended = failed + sum(now.requests_ok - before.requests_ok for before, now in known)
                least = LEAST
                over, allowed = failed, expression.limit
            else:
                name = expression.metric
                counts = [(getattr(before, name), getattr(now, name)) for before, now in known]
                ended = failed + sum(now.total() - before.total() for before, now in counts)
                over = failed + sum(
                    _over(now, expression.limit) - _over(before, expression.limit) for before, now in counts
                )
                allowed = 1 - expression.quantile
                least = math.ceil(_SPARE * sample_floor(expression.quantile))
            if ended >= least and over > 0 and 1 - binomial_cdf(over - 1, ended, allowed) <= DOUBT:
                return f"{expression.text}: broken, {over} of {ended} requests ({format_share(over / ended)}) miss it"
        return None


def broken(result: SloResult, manifest: Manifest) -> SloResult:
    """A run that was ended by an SLO has failed it, also where its records are too few to say so again."""
    if result.verdict != "inconclusive":
        return result
    for finding in (finding for worker in manifest.workers for finding in worker.findings):
        if finding.get("code") == ABORTED and f": {result.expr}: broken" in finding["message"]:
            return msgspec.structs.replace(result, verdict="fail", reason=finding["message"])
    return result


def _over(histogram: LogHistogram, limit_s: float) -> int:
    """How many are surely above: those in bins that begin at or above the limit."""
    first = 0 if limit_s <= _LOWEST_S else math.ceil(math.log10(limit_s / _LOWEST_S) * BINS_PER_DECADE - 1e-9)
    return sum(histogram.counts[first:])
