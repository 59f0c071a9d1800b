"""Faults on purpose: which requests go wrong, how, and where. Seeded, so a run can be repeated.

A fault is chosen by a probability or by the numbers of the requests it hits (1 is the first to arrive). The
draw of a request depends on the seed and on its `x-request-id` (its number where it has none), not on what
runs beside it.
"""

from __future__ import annotations

import math
import random
from enum import Enum
from typing import Annotated

import msgspec

from harness.errors import UsageError
from harness.units import parse_duration, parse_share

Chance = Annotated[float, msgspec.Meta(ge=0, le=1)] | list[Annotated[int, msgspec.Meta(ge=1)]]


class Kind(Enum):
    """How a request goes wrong."""

    STATUS = "error_rate"  # an HTTP error and a JSON body, before any answer
    EMPTY = "empty"  # an answer without a token, else well-formed
    MIDSTREAM = "midstream_error"  # an error object as an event, inside HTTP 200
    TRUNCATE = "truncate"  # the connection ends in order, the answer does not
    RESET = "reset"  # TCP RST in the middle of the answer
    STALL = "stall"  # nothing for a while, then everything that was due
    GARBAGE = "garbage"  # one event that is no JSON; the answer goes on


class Faults(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Chances of each fault, and their parameters. Durations in seconds (text such as `2s` is taken too)."""

    error_rate: Chance = 0.0
    empty: Chance = 0.0
    midstream_error: Chance = 0.0
    truncate: Chance = 0.0
    reset: Chance = 0.0
    stall: Chance = 0.0
    garbage: Chance = 0.0
    stall_for: float | str = 0.0
    slow_accept: float | str = 0.0
    rate_limit: float | str | None = None
    status: int | None = None

    def chance(self, kind: Kind) -> float | list[int]:
        """The chance of this kind. A `status` without an `error_rate` is the answer to every request."""
        if kind is Kind.STATUS and self.status and not self.error_rate:
            return 1.0
        chance: float | list[int] = getattr(self, kind.value)
        return chance

    @property
    def any(self) -> bool:
        """Whether any request can go wrong."""
        return any(self.chance(kind) for kind in Kind)

    def merged(self, other: Faults) -> Faults:
        """These, overridden by whatever `other` sets."""
        default = Faults()
        changed = {
            name: getattr(other, name)
            for name in Faults.__struct_fields__
            if getattr(other, name) != getattr(default, name)
        }
        return msgspec.structs.replace(self, **changed)

    def check(self) -> None:
        """Raise UsageError where the settings contradict each other."""
        if self.status is not None and not 400 <= self.status <= 599:
            raise UsageError(f"status is {self.status}; a failure has 400 to 599")
        if self.stall and not parse_duration(self.stall_for):
            raise UsageError("stall has no length", remedy="add --stall-for, e.g. --stall-for 2s")
        if not self.stall and parse_duration(self.stall_for):
            raise UsageError("stall-for is set, but no request stalls", remedy="add --stall, e.g. --stall 1%")


def parse_chance(text: str) -> float | list[int]:
    """A chance from `0.01` or `1%`, or the numbers of the requests from `@3,7`.

    Raises:
        ValueError: the text is neither.
    """
    if text.startswith("@"):
        numbers = [int(part) for part in text[1:].split(",") if part.strip().isdigit()]
        if len(numbers) != text.count(",") + 1 or min(numbers) < 1:
            raise ValueError(f"{text!r} is no list of request numbers (write @3,7)")
        return numbers
    share = parse_share(text)
    if not 0 <= share <= 1:
        raise ValueError(f"{text!r} is no probability: it must be 0 to 1 (write 0.01 or 1%)")
    return share


class Fate(msgspec.Struct, frozen=True):
    """What goes wrong with one request. `place` (0..1) is where in the answer."""

    kind: Kind
    place: float

    def before(self, tokens: int) -> int:
        """The token of an answer before which it strikes: not the first, where there is another."""
        return 0 if tokens < 2 or self.kind is Kind.EMPTY else 1 + math.floor(self.place * (tokens - 1))


def draw(faults: Faults, seed: int, number: int, request_id: str | None) -> Fate | None:
    """The fate of a request. Each kind is drawn apart; the first in the order of `Kind` happens."""
    if not faults.any:
        return None
    dice = random.Random(f"{seed} {request_id or number}")
    happened: Kind | None = None
    for kind in Kind:
        chance = faults.chance(kind)
        luck = dice.random()
        hit = number in chance if isinstance(chance, list) else luck < chance
        if hit and happened is None:
            happened = kind
    return Fate(happened, dice.random()) if happened else None
