"""The classic table of several runs, and own hardware against hosted models, in cells for any format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from harness.judge.breakeven import SelfHosting
from harness.metrics.classic import ClassicRow
from harness.report.figures import DASH, clean
from harness.units import format_money, format_number, format_share

_CLASSIC = ("", "model", "optimisation", "concurrency", "tokens/s", "ms/token", "memory")
_HOSTED = ("", "hosted model", "session there", "session here", "break-even use", "at SLO", "sessions/h", "price of")

CLASSIC_NOTE = (
    "tokens/s are output tokens of all users; ms/token is the median time per output token of one user; concurrency is "
    "live sessions, of an open loop the sessions that arrive"
)
HOSTED_NOTE = (
    "here: the hour's cost over the sessions of an hour at full use. From the break-even use on, and with as many "
    "sessions an hour, own hardware is the cheaper one; never: not even at full use"
)


def classic(labels: Sequence[str], rows: Sequence[ClassicRow]) -> list[list[str]]:
    """The classic table, its head first."""
    return [list(_CLASSIC), *([label, *_row(row)] for label, row in zip(labels, rows, strict=True))]


def classic_note(rows: Sequence[ClassicRow]) -> str:
    """What the columns are, and whose memory it is."""
    whose = {"GPUs": "all GPUs", "processes": "the engine's processes"}
    held = [whose[of] for of in whose if any(row.memory_of == of for row in rows)]
    if not held:
        return f"{CLASSIC_NOTE}; memory was not measured"
    return f"{CLASSIC_NOTE}; memory is the peak of {' or of '.join(held)}"


def hosted(rows: Sequence[SelfHosting]) -> list[list[str]]:
    """Break-even of each run by the hour against each hosted model, the head first."""
    return [list(_HOSTED), *(_against(row) for row in rows)]


def _row(row: ClassicRow) -> list[str]:
    load = DASH if row.rate is None else f"{row.rate:.3g}/s"
    return [
        clean(PurePath(row.model).name if row.model.startswith("/") else row.model, 60),
        clean(row.optimisation, 60),
        load if row.concurrency is None else str(row.concurrency),
        format_number(row.tokens_per_s),
        format_number(row.ms_per_token),
        _bytes(row.memory_gb),
    ]


def _bytes(gigabytes: float | None) -> str:
    if gigabytes is None:
        return DASH
    return f"{format_number(gigabytes)} GB" if gigabytes >= 0.9995 else f"{format_number(gigabytes * 1000)} MB"


def _against(row: SelfHosting) -> list[str]:
    there = clean(row.against, 60)
    return [
        row.run,
        there if row.other is None else f"{row.other}: {there}",
        format_money(row.api_per_session, row.currency),
        format_money(row.per_session, row.currency),
        _use(row.utilisation),
        _use(row.utilisation_at_slo),
        format_number(row.sessions_per_hour),
        clean(row.as_of or DASH, 60),
    ]


def _use(share: float | None) -> str:
    return f"never ({format_share(share)})" if share is not None and share > 1 else format_share(share)
