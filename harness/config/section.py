"""The base of all config sections, and the kinds of values that are written with a unit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

from harness.units import parse_count, parse_duration, parse_rate, parse_share


def _text_or_number(parse: Callable[[str | int | float], float], noun: str) -> Callable[[Any], float]:
    def check(value: Any) -> float:
        if isinstance(value, str | int | float):
            return parse(value)
        raise ValueError(f"{value!r} is not {noun}")

    return check


Duration = Annotated[
    float, BeforeValidator(_text_or_number(parse_duration, "a duration"), json_schema_input_type=float | str)
]
Rate = Annotated[float, BeforeValidator(_text_or_number(parse_rate, "a rate"), json_schema_input_type=float | str)]
Share = Annotated[float, BeforeValidator(_text_or_number(parse_share, "a share"), json_schema_input_type=float | str)]
Tokens = Annotated[
    int, BeforeValidator(_text_or_number(parse_count, "a number of tokens"), json_schema_input_type=int | str)
]


class Section(BaseModel):
    """Base of all config sections: immutable, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
