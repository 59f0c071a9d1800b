"""replay: recorded traffic once more, with texts of the recorded lengths that share what was shared."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Literal

from pydantic import Field

from harness.config.experiment import WorkloadConfig
from harness.config.section import Duration, Share
from harness.errors import ConfigError
from harness.units import format_duration, format_number
from harness.workloads.builder import DIVISORS, SessionBuilder
from harness.workloads.session import Session, Text
from harness.workloads.traces.file import TraceFile
from harness.workloads.traces.formats import reader, recognised
from harness.workloads.traces.trace import TraceCall, TraceSession


class Replay:
    """Session i is the i-th of the trace by start; after the last one it begins again, with other texts."""

    class Params(WorkloadConfig):
        """Keys of `workload:` for kind `replay`."""

        kind: str = "replay"
        path: str = Field(min_length=1, description="The trace: a file, a .gz of one, or a folder of JSON files")
        format: Literal[
            "auto", "harness", "mooncake", "azure", "burstgpt", "weka", "aiperf", "trie", "otel", "sharegpt"
        ] = Field("auto", description="Its format; `auto` recognises it by its first lines")
        time_scale: float = Field(1.0, gt=0, description="All times of the trace times this: 0.5 is twice as fast")
        gap_cap: Duration | None = Field(None, description="No gap inside a session is longer than this")
        error_budget: Share = Field(
            0.01, ge=0, le=1, description="Share of rows that may be unusable; they are skipped"
        )
        limit: int | None = Field(None, ge=1, description="Only so many sessions from the beginning of the trace")

    def __init__(self, params: Params) -> None:
        self.params = params
        self._file = TraceFile(params.path)
        self.format = recognised(self._file) if params.format == "auto" else params.format
        self.sessions = self._read()
        self._divisor = DIVISORS[params.scale]

    def session(self, seed: int, index: int) -> Session:
        """The session of this index. Pure; see `Workload`."""
        again, place = divmod(index, len(self.sessions))
        build = SessionBuilder("replay", seed, index, divisor=self._divisor)
        for call in self.sessions[place].calls:
            build.call(
                call.name,
                after=call.after,
                history=call.history,
                texts=list(self._texts(build, call, again)),
                output=call.output_tokens,
                gap=self._gap_s(call),
                agent=call.agent,
                depth=call.depth,
            )
        return build.session()

    def _texts(self, build: SessionBuilder, call: TraceCall, again: int) -> Iterator[Text]:
        """What a call adds: a text for each block, equal where the hashes are, and one for what no block tells of."""
        left = call.input_tokens
        for block in call.blocks:
            size = min(left, call.block_tokens)
            if not size:
                break
            left -= size
            whole = "" if size == call.block_tokens else f".{size}"
            yield build.shared(f"{again}.block.{block}{whole}", size, "user", part=True)
        if left:
            yield build.text(left)

    def starts_s(self) -> list[float] | None:
        """When each session starts, in seconds from the first, time scale applied; None: the trace has no times."""
        first = self.sessions[0].start_s
        if first is None:
            return None
        return [
            (session.start_s or 0.0) * self.params.time_scale - first * self.params.time_scale
            for session in self.sessions
        ]

    def notes(self) -> list[str]:
        """What was read, left out and capped."""
        calls = sum(len(session.calls) for session in self.sessions)
        what = f"{format_number(len(self.sessions), 9)} sessions, {format_number(calls, 9)} requests"
        out = [f"trace {self.params.path} ({self.format}): {what}"]
        if self.params.gap_cap is not None:
            cap = format_duration(self.params.gap_cap)
            out.append(f"gap_cap {cap} takes away {self.gap_share_removed:.1%} of the trace's gap time")
        out += [f"left out: {format_number(count, 9)} {why}" for why, count in self._file.left_out.items()]
        if skipped := len(self._file.skipped):
            out.append(f"skipped: {skipped} of {format_number(self._file.rows, 9)} rows: {self._file.told()}")
        return out

    @cached_property
    def gap_share_removed(self) -> float:
        """Share of all gap time inside sessions that `gap_cap` takes away; 0 where there is none."""
        scale = self.params.time_scale
        whole = sum(call.gap_s * scale for session in self.sessions for call in session.calls)
        kept = sum(self._gap_s(call) for session in self.sessions for call in session.calls)
        return 1 - kept / whole if whole else 0.0

    def _gap_s(self, call: TraceCall) -> float:
        gap = call.gap_s * self.params.time_scale
        return gap if self.params.gap_cap is None else min(gap, self.params.gap_cap)

    def _read(self) -> list[TraceSession]:
        """All sessions by start. A session is read without the rows that were skipped."""
        found: list[TraceSession] = []
        for session in reader(self.format).sessions(self._file):
            found.append(session)
            if len(found) == self.params.limit:
                break
        self._file.check(self.params.error_budget)
        if not found:
            raise ConfigError(
                "workload.path", f"{self.params.path} holds no session that can be replayed as {self.format}"
            )
        if any(session.start_s is None for session in found):
            for session in found:
                session.start_s = None
        else:
            found.sort(key=lambda session: (session.start_s or 0.0, session.line))
        return found
