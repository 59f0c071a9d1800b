"""What an hour of hardware costs, rented or owned. Money is in any one currency."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HOURS_PER_YEAR = 8760.0


def rented_hour(gpu_hour: float, gpus: float) -> dict[str, float]:
    """The parts of an hour of rented hardware: `rent` alone."""
    return {"rent": gpu_hour * gpus}


def owned_hour(owned: Mapping[str, Any], kw: float | None) -> dict[str, float]:
    """The parts of an hour of owned hardware: `hardware`, and `opex` and `electricity` where they are known.

    `owned` is the config's section of that name; a key it lacks has the section's default. `kw` is what all of it
    draws under load, None where that is unknown: then, or without a price of the kWh, electricity is left out.
    """
    availability = float(owned.get("availability", 1.0))
    years, interest = float(owned.get("life_years", 4.0)), float(owned.get("interest", 0.08))
    residual = float(owned.get("residual", 0.0))
    parts = {"hardware": hardware_hour(float(owned["capex"]), interest, years, residual, availability)}
    if owned.get("opex"):
        parts["opex"] = opex_hour(float(owned["opex"]), availability)
    price = owned.get("kwh_price")
    if price is not None and kw is not None:
        parts["electricity"] = electricity_hour(kw, float(owned.get("pue", 1.3)), float(price))
    return parts


def capital_recovery(interest: float, years: float) -> float:
    """The share of a loan that one yearly payment is: i(1+i)^n / ((1+i)^n - 1); 1/n without interest.

    Source: the annuity formula, as in Short, Packey & Holt, NREL/TP-462-5173 (1995), "uniform capital recovery".
    """
    if interest == 0:
        return 1 / years
    grown: float = (1 + interest) ** years
    return interest * grown / (grown - 1)


def hardware_hour(capex: float, interest: float, years: float, residual: float, availability: float) -> float:
    """Money for an hour in which owned hardware is up: capex x CRF x (1 - residual) / (8760 x availability)."""
    yearly = capex * capital_recovery(interest, years) * (1 - residual)
    return yearly / (HOURS_PER_YEAR * availability)


def opex_hour(per_year: float, availability: float) -> float:
    """A yearly expense over the hours in which the hardware is up."""
    return per_year / (HOURS_PER_YEAR * availability)


def electricity_hour(kw: float, pue: float, kwh_price: float) -> float:
    """Money for an hour's power: kW x PUE x price of a kWh."""
    return kw * pue * kwh_price
