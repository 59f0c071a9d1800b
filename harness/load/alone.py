"""Sessions of a run once more, each alone on the target: what `session.slowdown` is held against."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Sequence

import msgspec

from harness.clock import now_ns
from harness.load.fleet import Fleet
from harness.load.limits import MINUTE_NS
from harness.load.messages import WorkerSpec
from harness.load.stopping import stoppable
from harness.records.folder import RunFolder
from harness.records.snapshot import Snapshot
from harness.units import NS_PER_S, format_duration


def replay_alone(
    folder: RunFolder,
    spec: WorkerSpec,
    sessions: Sequence[int],
    *,
    limit_s: float,
    watch: Callable[[], str | None],
    quiet: bool,
) -> None:
    """Play these sessions one after the other, for `limit_s` at most; what is not done by then is cut off.

    They have the shapes and lengths that they had, but words of their own at the beginning of their texts, so that a
    cache warmed by the load does not flatter them. `spec` is that of a worker of the run. The records go to
    `folder.solo`, on a time axis of their own. It ends early once `watch` says that the engine has ended. Under a cap
    a minute it begins a minute later, when nothing that the load has sent counts any more.
    """

    def say(text: str) -> None:
        if not quiet:
            print(text, file=sys.stderr, flush=True)

    if not sessions:
        return
    alone = msgspec.structs.replace(
        spec,
        shard=0,
        shards=1,
        solo=list(sessions),
        run_id=f"{spec.run_id}-solo",
        run_nonce=secrets.token_hex(8),
        records_path=str(folder.solo),
    )
    with Fleet(1) as fleet:
        fleet.watch = watch
        fleet.brief([alone])

        def in_time(_snapshots: list[Snapshot], t_ns: int) -> None:
            if t_ns > limit_s * NS_PER_S:
                fleet.stop()
                fleet.stop()

        at_ns = now_ns() + MINUTE_NS if _capped_a_minute(spec) else None
        later = "" if at_ns is None else "in a minute (limits), "
        say(f"replaying {len(sessions)} sessions alone, {later}for {format_duration(limit_s)} at most (load.solo)")
        with stoppable(fleet, say):
            fleet.play(in_time, drain_s=0.0, at_ns=at_ns)


def _capped_a_minute(spec: WorkerSpec) -> bool:
    limits = spec.experiment["limits"]
    return limits["requests_per_minute"] is not None or limits["tokens_per_minute"] is not None
