"""Many results into one figure each: medians over the repeats, ratios within a repeat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from statistics import median

from job import Result

FLOOR = "C floor"


class Medians:
    """The results of one job. A figure that no repeat has is None."""

    def __init__(self, results: Sequence[Result]) -> None:
        self.results = list(results)

    def scenarios(self) -> list[str]:
        return list(dict.fromkeys(result.scenario for result in self.results))

    def clients(self, scenario: str) -> list[str]:
        return list(dict.fromkeys(result.client for result in self.results if result.scenario == scenario))

    def of(self, scenario: str, client: str) -> list[Result]:
        """The repeats of one client in one scenario."""
        return [result for result in self.results if (result.scenario, result.client) == (scenario, client)]

    def figure(self, scenario: str, client: str, name: str) -> float | None:
        return _median(result.figures.get(name) for result in self.of(scenario, client))

    def ratio(self, scenario: str, client: str, name: str, base: str = FLOOR) -> float | None:
        """The median of client / base, each taken from the same repeat."""
        return self._paired(scenario, client, base, name, lambda ours, theirs: ours / theirs if theirs else None)

    def _paired(
        self, scenario: str, client: str, base: str, name: str, fold: Callable[[float, float], float | None]
    ) -> float | None:
        theirs = {result.repeat: result.figures.get(name) for result in self.of(scenario, base)}
        pairs = [(result.figures.get(name), theirs.get(result.repeat)) for result in self.of(scenario, client)]
        return _median(fold(a, b) for a, b in pairs if a is not None and b is not None)

    def problems(self, scenario: str, client: str) -> list[str]:
        return list(dict.fromkeys(result.problem for result in self.of(scenario, client) if result.problem))

    def verdicts(self, scenario: str, client: str) -> Counter[str]:
        """What the client itself says of its runs, and of how many of them."""
        return Counter(result.verdict for result in self.of(scenario, client) if result.verdict)


def _median(values: object) -> float | None:
    known = [value for value in values if value is not None]  # type: ignore[attr-defined]
    return float(median(known)) if known else None
