"""`--shard` and `--start-at`: which share of a plan, and when."""

from __future__ import annotations

import re
import time
from datetime import datetime
from math import ceil

from harness.errors import UsageError
from harness.load.appointment import Appointment
from harness.records.manifest import ShardOf
from harness.units import NS_PER_S, parse_duration

_SHARD = re.compile(r"(\d{1,6})/(\d{1,6})")
_UNIX = re.compile(r"\d{1,18}(\.\d{1,9})?")
_FARTHEST_S = 24 * 3600


def appointment(shard: str | None, start_at: str | None) -> Appointment | None:
    """What the two options mean together; None where neither was given.

    Raises:
        UsageError: one cannot be understood, the start is long ago or far off, or a shard has no start.
    """
    if shard is None and start_at is None:
        return None
    share = None if shard is None else _share(shard)
    if start_at is None:
        raise UsageError(
            "--shard needs --start-at: all shards start at one instant",
            remedy="give all of them the same, a little ahead, as in --start-at 2026-01-31T12:00:00Z",
        )
    return Appointment(shard=share, at_ns=_instant(start_at))


def _share(text: str) -> ShardOf:
    match = _SHARD.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"--shard {text}: not of the form i/n", remedy="the three shards of 3 are 0/3, 1/3 and 2/3")
    index, of = int(match[1]), int(match[2])
    if index >= of:
        raise UsageError(f"--shard {text}: there is no such shard", remedy=f"count from 0: the last is {of - 1}/{of}")
    return ShardOf(index, of)


def _instant(text: str) -> int:
    """Unix nanoseconds from RFC 3339, Unix seconds, or `+20s` from now (to the next whole second)."""
    said, now = text.strip(), time.time()
    if said.startswith("+"):
        try:
            at_ns = ceil(now + parse_duration(said[1:])) * NS_PER_S
        except ValueError as error:
            raise UsageError(f"--start-at {text}: {error}") from None
    elif _UNIX.fullmatch(said):
        whole, _, fraction = said.partition(".")
        at_ns = int(whole) * NS_PER_S + int(fraction.ljust(9, "0") or 0)
    else:
        at_ns = _rfc3339(text)
    ahead = at_ns / NS_PER_S - now
    if ahead > _FARTHEST_S:
        raise UsageError(f"--start-at {text} is {ahead / 3600:.3g} hours ahead", remedy="a number is in Unix seconds")
    return at_ns


def _rfc3339(text: str) -> int:
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(
            f"--start-at {text}: not an instant",
            remedy="write 2026-01-31T12:00:00Z, Unix seconds, or +20s from now",
        ) from None
    if at.tzinfo is None:
        raise UsageError(f"--start-at {text}: in which time zone?", remedy=f"end it in Z for UTC: {text.strip()}Z")
    return round(at.timestamp()) * NS_PER_S if not at.microsecond else round(at.timestamp() * 1e6) * 1000
