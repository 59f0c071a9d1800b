"""Hardware of one's own against hosted models, over finished runs: how busy it must be to be the cheaper one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from harness.metrics.cost_formulas import break_even_sessions, break_even_utilisation
from harness.metrics.summary import CostFigures, Rates, Summary


class SelfHosting(msgspec.Struct, frozen=True, kw_only=True):
    """One run on hardware paid by the hour against one hosted model; money in `currency`, unknown is None.

    Attributes:
        run: label of the run on one's own hardware.
        against: the hosted model; where `other` names a run of it, its sessions were measured there.
        other: label of that run; None where the model is in `cost.against`, which prices the sessions of `run` itself.
        per_session: own hardware at full use. `api_per_session`: the hosted model.
        utilisation: share of full use from which on the own hardware is cheaper; above 1 it never is.
        utilisation_at_slo: the same where only sessions that met the SLOs count.
        sessions_per_hour: what `utilisation` is in sessions.
    """

    run: str
    against: str
    other: str | None = None
    currency: str
    per_hour: float
    per_session: float | None
    api_per_session: float
    utilisation: float | None
    utilisation_at_slo: float | None
    sessions_per_hour: float | None
    as_of: str | None = None


def self_hosting(runs: Sequence[tuple[str, Summary]], *, same_load: bool) -> list[SelfHosting]:
    """Every run by the hour against the models its config names, and against every run by price in the same currency.

    `runs` are labels with summaries. Runs are held against runs only where all had the `same_load`: else a session of
    one is not a session of the other.
    """
    known = [(label, summary, summary.cost) for label, summary in runs if summary.cost is not None]
    found = []
    for label, summary, cost in known:
        if cost.per_hour is None:
            continue
        found += list(_listed(label, cost))
        for other, theirs, bill in known:
            if same_load and bill.basis == "price" and bill.currency == cost.currency and bill.per_session:
                found.append(_measured((label, summary.rates, cost, cost.per_hour), (other, theirs, bill)))
    return found


def _listed(label: str, cost: CostFigures) -> Iterator[SelfHosting]:
    for api in cost.break_even:
        if api.per_session is not None and cost.per_hour is not None:
            yield SelfHosting(
                run=label,
                against=api.model,
                currency=cost.currency,
                per_hour=cost.per_hour,
                per_session=cost.per_session,
                api_per_session=api.per_session,
                utilisation=api.utilisation,
                utilisation_at_slo=api.utilisation_at_slo,
                sessions_per_hour=api.sessions_per_hour,
                as_of=api.as_of,
            )


def _measured(own: tuple[str, Rates, CostFigures, float], api: tuple[str, Summary, CostFigures]) -> SelfHosting:
    """Each side's good sessions by its own SLOs: what a good session costs there pays for the bad ones, too."""
    label, rates, cost, per_hour = own
    other, theirs, bill = api
    price = bill.per_session or 0.0
    good = bill.per_good_session
    return SelfHosting(
        run=label,
        against=theirs.target.model,
        other=other,
        currency=cost.currency,
        per_hour=per_hour,
        per_session=cost.per_session,
        api_per_session=price,
        utilisation=break_even_utilisation(per_hour, price, rates.sessions_per_hour),
        utilisation_at_slo=None
        if good is None
        else break_even_utilisation(per_hour, good, rates.goodput_sessions_per_hour),
        sessions_per_hour=break_even_sessions(per_hour, price),
        as_of=bill.as_of,
    )
