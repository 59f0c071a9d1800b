"""What a client told, held against what the server did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ground_truth import Answer
from told import Call, Seconds, Told

Figures = dict[str, float | None]


def quantile(values: npt.ArrayLike, q: float) -> float | None:
    """The quantile by linear interpolation; None of nothing."""
    array = np.asarray(values, dtype=np.float64)
    return float(np.quantile(array, q)) if array.size else None


def counted(streams: Sequence[Answer], told: Told, wanted: int) -> list[Answer]:
    """The answers that the client measured: those it names, or the last ones where it names none.

    Probes and warm-up of a client come first, so the last ones are the load.
    """
    if told.calls:
        names = {call.id for call in told.calls}
        return [answer for answer in streams if answer.id in names]
    return list(streams[-wanted:])


def true_ttft_s(answer: Answer) -> float:
    return float(answer.tokens_ns[0] - answer.complete_ns) / 1e9


def truth_figures(answers: Sequence[Answer]) -> Figures:
    """What the server did: latencies, and how many streams were live at once from the first to the last."""
    begin = min(answer.complete_ns for answer in answers)
    end = max(answer.events_ns[-1] for answer in answers)
    lives = sum(int(answer.events_ns[-1]) - answer.complete_ns for answer in answers)
    edges = [(answer.complete_ns, 1) for answer in answers] + [(int(answer.events_ns[-1]), -1) for answer in answers]
    steps = np.cumsum([step for _, step in sorted(edges)])
    ttft = [true_ttft_s(answer) for answer in answers]
    gaps = np.concatenate([np.diff(answer.tokens_ns) for answer in answers]) / 1e9
    return {
        "true_ttft_p50_s": quantile(ttft, 0.5),
        "true_ttft_p99_s": quantile(ttft, 0.99),
        "true_itl_p50_s": quantile(gaps, 0.5),
        "true_itl_p99_s": quantile(gaps, 0.99),
        "live_mean": lives / (end - begin),
        "live_max": float(steps.max()),
    }


def told_figures(told: Told) -> Figures:
    return {
        "ttft_p50_s": quantile(told.ttft_s, 0.5),
        "ttft_p99_s": quantile(told.ttft_s, 0.99),
        "itl_p50_s": quantile(told.itl_s, 0.5),
        "itl_p99_s": quantile(told.itl_s, 0.99),
    }


@dataclass(frozen=True, slots=True)
class Pairs:
    """Told and true of the same request, for all whose tokens were all told and all sent."""

    calls: list[Call]
    answers: list[Answer]

    @classmethod
    def of(cls, told: Told, answers: Sequence[Answer]) -> Pairs:
        known = {answer.id: answer for answer in answers}
        both = [
            (call, known[call.id])
            for call in told.calls
            if call.id in known and len(call.tokens_ns) == len(known[call.id].tokens_ns)
        ]
        return cls([call for call, _ in both], [answer for _, answer in both])

    def ttft_errors_s(self) -> Seconds:
        """Told less true, one a request."""
        told = [call.tokens_ns[0] - call.sent_ns for call in self.calls]
        return np.array(told, dtype=np.float64) / 1e9 - [true_ttft_s(answer) for answer in self.answers]

    def itl_errors_s(self) -> Seconds:
        """Told less true, one a gap between two tokens."""
        told = [np.diff(call.tokens_ns) for call in self.calls]
        true = [np.diff(answer.tokens_ns) for answer in self.answers]
        return (np.concatenate(told) - np.concatenate(true)) / 1e9 if told else np.empty(0)

    def axis_ns(self) -> int:
        """What to add to the client's times for the server's: the shortest way from a send to the server's read."""
        return min(answer.begun_ns - call.sent_ns for call, answer in zip(self.calls, self.answers, strict=True))

    def lateness_s(self) -> Seconds:
        """How long after it was due each request reached the server, less the shortest way."""
        axis = self.axis_ns()
        late = [
            answer.begun_ns - axis - call.due_ns
            for call, answer in zip(self.calls, self.answers, strict=True)
            if call.due_ns is not None
        ]
        return np.array(late, dtype=np.float64) / 1e9

    def send_lag_s(self) -> Seconds:
        """What the client says of itself: sent less due."""
        return np.array([call.sent_ns - call.due_ns for call in self.calls if call.due_ns is not None]) / 1e9


def pair_figures(pairs: Pairs) -> Figures:
    """Errors of single values. Sizes without their sign."""
    if not pairs.calls:
        return {}
    ttft, itl = np.abs(pairs.ttft_errors_s()), np.abs(pairs.itl_errors_s())
    return {
        "ttft_error_p50_s": quantile(ttft, 0.5),
        "ttft_error_p99_s": quantile(ttft, 0.99),
        "itl_error_p50_s": quantile(itl, 0.5),
        "itl_error_p99_s": quantile(itl, 0.99),
        "send_lag_p99_s": quantile(pairs.send_lag_s(), 0.99),
        "lateness_p50_s": quantile(pairs.lateness_s(), 0.5),
        "lateness_p99_s": quantile(pairs.lateness_s(), 0.99),
    }


def arrival_figures(answers: Sequence[Answer]) -> Figures:
    """Of the gaps between arrivals as the server saw them: rate, coefficient of variation, lag-1 autocorrelation, and
    the index of dispersion of counts in 100 ms (1 for Poisson, 0 for constant arrivals).
    """
    at = np.sort([answer.begun_ns for answer in answers]) / 1e9
    gaps = np.diff(at)
    if gaps.size < 3:
        return {}
    counts = np.histogram(at, bins=np.arange(at[0], at[-1], 0.1))[0] if at[-1] - at[0] > 0.3 else np.empty(0)
    varied = gaps.std() > 1e-9
    return {
        "arrival_rate": float(gaps.size / (at[-1] - at[0])),
        "arrival_gap_cv": float(gaps.std(ddof=1) / gaps.mean()),
        "arrival_autocorrelation": float(np.corrcoef(gaps[:-1], gaps[1:])[0, 1]) if varied else None,
        "arrival_dispersion": float(counts.var(ddof=1) / counts.mean()) if counts.size > 1 else None,
    }
