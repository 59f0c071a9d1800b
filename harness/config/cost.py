"""What the target costs: rented by the hour, owned, or a hosted model paid by the token.

Names of the price tables are looked up when the config is read, and what was found is put in their place with its
date and source: a stored config holds every price, so a run can be told again where no table is.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    model_serializer,
    model_validator,
)

from harness.config.prices import find_accelerator, find_model
from harness.config.section import Section, Share

Money = Annotated[float, Field(ge=0)]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]

_BASES = ("gpu_hour", "price", "owned")


class Price(Section):
    """A hosted model, per 1M tokens. `model` alone is looked up; figures beside it go before those of the table."""

    model: str | None = Field(default=None, description="Its name, looked up in the table where no prices are given")
    input: Money = Field(description="Input tokens")
    cached_input: Money | None = Field(default=None, description="Input tokens read from the provider's cache")
    cache_write: Money | None = Field(default=None, description="Input tokens written to the provider's cache")
    output: Money = Field(description="Output tokens")
    reasoning: Money | None = Field(default=None, description="Reasoning tokens, where they differ from output")
    per_request: Money = Field(default=0.0, description="Fee for each request")
    batch_factor: float = Field(default=1.0, gt=0, description="All tokens times this, e.g. 0.5 for a batch API")
    currency: Currency | None = Field(default=None, description="ISO 4217 code, if not that of the cost")
    as_of: str | None = Field(default=None, description="Date of the price")
    source: str | None = Field(default=None, description="Where the price is from")

    @model_serializer(mode="wrap")
    def _told(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if value is not None}


def _looked_up(value: Any, file: str | None = None) -> Any:
    """A name, or a section that has one but no prices, with the figures of the table."""
    if isinstance(value, str):
        value = {"model": value}
    if not isinstance(value, dict) or not isinstance(value.get("model"), str):
        return value
    if value.get("input") is not None and value.get("output") is not None:
        return value
    found = find_model(value["model"], file)
    told = {"model": found.name, **found.figures, "currency": found.currency, "source": found.source}
    if found.as_of is not None:
        told["as_of"] = found.as_of
    return {**told, **{key: given for key, given in value.items() if given is not None and key != "model"}}


PriceOrName = Annotated[Price, BeforeValidator(_looked_up, json_schema_input_type=Price | str)]


class Owned(Section):
    """Hardware of one's own, from one board under a desk to a rack: what it cost to buy and what it draws."""

    capex: float = Field(gt=0, description="What all of it cost to buy, network and all")
    life_years: float = Field(default=4.0, gt=0, description="Years until it is written off")
    interest: Share = Field(default=0.08, ge=0, description="Interest a year on the money in it")
    residual: Share = Field(default=0.0, ge=0, lt=1, description="Share of the price it can be sold for in the end")
    availability: Share = Field(default=1.0, gt=0, le=1, description="Share of the year in which it is up")
    kw: float | None = Field(default=None, ge=0, description="Power it draws under load; else what telemetry measures")
    pue: float = Field(default=1.3, ge=1, description="Power of the whole room for each watt of it; 1 on a desk")
    kwh_price: Money | None = Field(default=None, description="Price of a kWh")
    opex: Money = Field(default=0.0, description="Rent of the room, people, repairs: money a year")

    @model_validator(mode="after")
    def _power_has_a_price(self) -> Owned:
        if self.kw is not None and self.kwh_price is None:
            raise ValueError("kw needs kwh_price, the price of a kWh")
        return self


class Split(Section):
    """How fast the target is at either job alone: what tells the hour's cost of input from that of output."""

    prefill: float = Field(gt=0, description="Uncached input tokens/s, of long prompts with answers of one token")
    decode: float = Field(gt=0, description="Output tokens/s, of short prompts with long answers")


class Cost(Section):
    """What the target costs: rented (`gpu_hour` or `accelerator`), `owned`, or hosted (`price`)."""

    gpu_hour: Money | None = Field(default=None, description="Rent of one GPU for an hour")
    accelerator: str | None = Field(default=None, description="Its name; without gpu_hour its retail rent is looked up")
    gpus: float = Field(default=1, gt=0, description="How many of them serve the target")
    owned: Owned | None = Field(default=None, description="Hardware of one's own")
    price: PriceOrName | None = Field(default=None, description="A hosted model: its name, or prices per 1M tokens")
    price_file: str | None = Field(default=None, description="Table to look models up in: ours, or LiteLLM's JSON")
    split: Split | None = Field(default=None, description="Measured speeds that tell input's cost from output's")
    against: list[PriceOrName] = Field(default_factory=list, description="Hosted models to break even against")
    currency: Currency = Field(default="USD", description="ISO 4217 code")
    as_of: str | None = Field(default=None, description="Date of the price")
    source: str | None = Field(default=None, description="Where the price is from")

    @model_validator(mode="before")
    @classmethod
    def _tables(cls, data: Any) -> Any:
        """Names looked up. What the config says itself goes before the table."""
        if not isinstance(data, dict):
            return data
        file = data.get("price_file")
        file = file if isinstance(file, str) else None
        found = dict(data)
        if data.get("price") is not None:
            found["price"] = _looked_up(data["price"], file)
        if isinstance(data.get("against"), list):
            found["against"] = [_looked_up(item, file) for item in data["against"]]
        if isinstance(data.get("accelerator"), str) and data.get("gpu_hour") is None:
            card = find_accelerator(data["accelerator"])
            dated = {"as_of": card.as_of, "source": card.source}
            found |= {"accelerator": card.name, "gpu_hour": card.rent}
            found |= {key: value for key, value in dated.items() if found.get(key) is None}
            if data.get("currency", card.currency) != card.currency:
                raise ValueError(f"the rent of {card.name} is told in {card.currency}; give gpu_hour in your currency")
        return found

    @model_validator(mode="after")
    def _one_basis(self) -> Cost:
        if sum(getattr(self, basis) is not None for basis in _BASES) != 1:
            raise ValueError("give exactly one of gpu_hour or accelerator (rented), owned, price (hosted)")
        if self.accelerator is not None and self.gpu_hour is None:
            raise ValueError("accelerator is what is rented: leave it out beside price and owned")
        for price in (*filter(None, [self.price]), *self.against):
            if price.currency not in (None, self.currency):
                told = f"{price.model or 'the price'} is told in {price.currency}, the cost in {self.currency}"
                raise ValueError(f"{told}: give its prices in {self.currency}, there are no exchange rates here")
        return self
