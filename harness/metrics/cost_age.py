"""How old a price was when the run began. An old price is told as a finding, since prices move within months."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from harness.metrics.summary import Finding

OLD_DAYS = 90

_DATE = re.compile(r"\b(\d{4})(?:-(\d{2}))?(?:-(\d{2}))?\b")
_SEASON_ENDS = {"spring": 5, "summer": 8, "autumn": 11, "fall": 11}


def latest_day(as_of: str) -> date | None:
    """The last day that a date as people write it can mean: `2026-11-21`, `2026-11`, `2026`, `autumn 2026`, with any
    words after it. None where it says no year.

        >>> latest_day("2024, via an article of 2026-05")
        datetime.date(2024, 12, 31)
    """
    match = _DATE.search(as_of)
    if match is None:
        return None
    year = int(match[1])
    season = next((month for name, month in _SEASON_ENDS.items() if name in as_of[: match.start()].lower()), 12)
    month = int(match[2] or season)
    try:
        return date(year, month, int(match[3]) if match[3] else monthrange(year, month)[1])
    except ValueError:
        return None


def price_findings(terms: Mapping[str, Any] | None, started_at: str) -> list[Finding]:
    """`price_old` where prices in use were older than 90 days when the run began (RFC 3339)."""
    try:
        began = date.fromisoformat(started_at[:10])
    except ValueError:
        return []
    ages: dict[str, int] = {}
    for name, as_of in _dated(terms or {}):
        day = latest_day(as_of)
        if day is not None and (began - day).days > OLD_DAYS:
            ages[f"{name} ({as_of})"] = (began - day).days
    if not ages:
        return []
    return [
        Finding(
            code="price_old",
            severity="info",
            message=f"prices were older than {OLD_DAYS} days when the run began: {'; '.join(ages)}",
            value=float(max(ages.values())),
            limit=float(OLD_DAYS),
            remedy="look up today's price and give it with its date (cost.as_of)",
        )
    ]


def _dated(terms: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each price in use by name, with its date."""
    price = terms.get("price") if isinstance(terms.get("price"), dict) else {}
    own = terms.get("as_of") or (price or {}).get("as_of")
    if own:
        yield str(terms.get("accelerator") or (price or {}).get("model") or "cost"), str(own)
    for api in terms.get("against") or ():
        if api.get("as_of"):
            yield str(api.get("model") or "API"), str(api["as_of"])
