"""The player on virtual time, over a wire that answers after a given delay: exact to the nanosecond."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.backends.openai import OpenAI
from harness.backends.protocol import Target
from harness.clock import VirtualLoop
from harness.config import Experiment
from harness.load.exchange import Exchange
from harness.load.health import HealthMonitor
from harness.load.ledger import Ledger
from harness.load.limits import Limiter
from harness.load.player import Player
from harness.load.scheduler import Scheduler
from harness.metrics.sessions import session_table
from harness.metrics.table import RecordTable
from harness.metrics.terms import Terms
from harness.metrics.window import MEASURE, WARMUP, Window, measured_window
from harness.plan import Plan, make_plan
from harness.records.manifest import Manifest, WorkerReport
from harness.records.reader import read_records
from harness.records.record import Record
from harness.records.writer import RecordWriter
from harness.workloads import Node, Session, Text
from harness.workloads.text import TextCalibration, TextMaker

_NUMBERS = count()
MS = 1_000_000
S = 1_000_000_000
Delay = Callable[[Exchange], float]


class FakeWire:
    """Answers each request after `delay(exchange)` seconds; an answer of "!name" is a failure of that name."""

    def __init__(self, scheduler: Scheduler, delay: Delay, says: Callable[[Exchange], str]) -> None:
        self._scheduler = scheduler
        self._delay = delay
        self._says = says
        self.sent: list[Exchange] = []
        self.live = 0
        self.most = 0
        self.aborted: list[str] = []

    async def open(self, connections: int) -> None:
        """Always open."""

    async def close(self) -> None:
        assert self.live == 0

    def render(self, exchange: Exchange) -> None:
        exchange.payload = exchange.body

    def send(self, exchange: Exchange) -> None:
        exchange.sent_ns = self._scheduler.now()
        self.sent.append(exchange)
        self.live += 1
        self.most = max(self.most, self.live)
        self._scheduler.at(exchange.sent_ns + round(self._delay(exchange) * S), self._answer, exchange)

    def _answer(self, exchange: Exchange) -> None:
        if exchange.ended:
            return
        said = self._says(exchange)
        if said.startswith("!"):
            exchange.fail(said[1:], "as scripted")
        else:
            now = self._scheduler.now()
            exchange.status, exchange.headers = 200, {b"content-type": b"text/event-stream"}
            for text, finish in ((said, None), ("", "stop")):
                event = {"choices": [{"delta": {"content": text}, "finish_reason": finish}]}
                exchange.bodies.append(b"data: %b\n\n" % json.dumps(event).encode())
                exchange.body_stamps.append(now)
        self._end(exchange)

    def _end(self, exchange: Exchange) -> None:
        exchange.ended = True
        exchange.end_ns = self._scheduler.now()
        self.live -= 1
        exchange.done(exchange)

    def abort(self, exchange: Exchange, error: str, detail: str | None = None) -> None:
        if not exchange.ended:
            self.aborted.append(error)
            exchange.fail(error, detail)
            self._end(exchange)


class Drawn:
    """A workload made by hand: the same nodes for every session."""

    def __init__(self, *nodes: Node) -> None:
        self._nodes = nodes

    def session(self, _seed: int, index: int) -> Session:
        return Session(index=index, kind="drawn", nodes=self._nodes)


def ask(name: str, *, after: tuple[int, ...] = (), gap_ms: float = 0, **more: Any) -> Node:
    texts = (Text("user", f"text of {name}", 8),)
    return Node(name=name, after=after, texts=texts, output_tokens=4, gap_ns=round(gap_ms * MS), **more)


ONE = (ask("only"),)


class Play:
    """One load, played to its end: the wire, the records, the tally."""

    def __init__(self, folder: Path, *nodes: Node, load: dict[str, Any], **options: Any) -> None:
        self.workload = options.pop("workload", {})
        limits = options.pop("limits", {})
        experiment = Experiment.model_validate(
            {
                "seed": 3,
                "backend": {"kind": "openai", "url": "http://127.0.0.1:1", "model": "m"},
                "workload": self.workload if "kind" in self.workload else {"turns": 1, **self.workload},
                "load": load,
                "limits": limits,
            }
        )
        plan = make_plan(experiment)
        self.plan: Plan = dataclasses.replace(plan, workload=Drawn(*nodes)) if nodes else plan
        self.folder = folder
        self.delay: Delay = options.pop("delay", lambda _: 0.1)
        self.says: Callable[[Exchange], str] = options.pop("says", lambda exchange: f"said by {exchange.id}")
        self.shard = options.pop("shard", (0, 1))
        self.script: Callable[[Play], Any] | None = options.pop("script", None)
        self.t0_ns = 0
        assert not options
        self.loop = VirtualLoop()
        self.loop.run(self._main())
        self.records: list[Record] = list(read_records([self._path]))

    async def _main(self) -> None:
        loop = self.loop
        scheduler = Scheduler(loop.now_ns)
        self.wire = FakeWire(scheduler, self.delay, self.says)
        self._path = self.folder / f"{next(_NUMBERS)}.jsonl"
        writer = RecordWriter(self._path)
        self.ledger = Ledger(writer, worker=self.shard[0], run_id="r")
        self.health = HealthMonitor(scheduler)
        self.limiter = Limiter(self.plan.experiment.limits, scheduler, *self.shard)
        self.player = Player(
            self.plan.shard(*self.shard),
            wire=self.wire,
            dialect=OpenAI(self.plan.experiment.backend).dialect(Target(backend="openai", url="", model="m")),
            maker=TextMaker(TextCalibration(), ""),
            ledger=self.ledger,
            health=self.health,
            limiter=self.limiter,
            scheduler=scheduler,
        )
        self.player.prepare()
        await asyncio.sleep(1.0)
        self.t0_ns = loop.now_ns() + 20 * MS
        script = asyncio.create_task(self.script(self)) if self.script else None
        await self.player.play(self.t0_ns)
        self.ended_ns = loop.now_ns() - self.t0_ns
        if script is not None:
            await script
        self.player.count_live()
        self.tally = msgspec.structs.replace(self.ledger.tally)
        await self.wire.close()
        writer.close()

    def sent_ms(self) -> list[float]:
        return [round((exchange.sent_ns - self.t0_ns) / MS, 3) for exchange in self.wire.sent]


def by_name(play: Play, session: int = 0) -> dict[str, Record]:
    return {record.node: record for record in play.records if record.session == f"s{session:07d}"}


def prompt(exchange: Exchange) -> list[dict[str, str]]:
    messages: list[dict[str, str]] = json.loads(exchange.body)["messages"]
    return messages


# -- closed loop


def test_closed_loop_holds_exactly_n_live_sessions(tmp_path: Path) -> None:
    delays = iter([0.05 + 0.013 * (number * 7 % 11) for number in range(100)])
    play = Play(tmp_path, *ONE, load={"concurrency": 4, "sessions": 40}, delay=lambda _: next(delays))
    edges = sorted(
        [(record.sent_ns, 1) for record in play.records] + [(record.end_ns, -1) for record in play.records],
        key=lambda edge: (edge[0], -edge[1]),
    )
    full_ns, dry_ns = play.player.marks
    assert full_ns is not None and dry_ns is not None
    live, seen = 0, set()
    for (at, step), (following, _) in pairwise(edges):
        live += step
        if full_ns <= at < following <= dry_ns:
            seen.add(live)
    assert seen == {4}
    assert play.wire.most <= 4
    assert (play.tally.sessions_started, play.tally.sessions_done, play.tally.sessions_failed) == (40, 40, 0)
    assert len({record.id for record in play.records}) == 40


def test_a_slot_starts_its_next_session_when_its_last_answer_ends(tmp_path: Path) -> None:
    play = Play(tmp_path, *ONE, load={"concurrency": 1, "sessions": 4})
    assert play.sent_ms() == [0, 100, 200, 300]
    assert [record.intended_ns for record in play.records[1:]] == [record.end_ns for record in play.records[:-1]]


def test_slots_start_spread_over_the_ramp(tmp_path: Path) -> None:
    play = Play(tmp_path, *ONE, load={"concurrency": 5, "sessions": 5, "ramp": "2s"}, delay=lambda _: 9.0)
    starts = [round(slot / MS, 3) for slot in play.plan.shard(0, 1).slots()]
    assert sorted(play.sent_ms()) == sorted(starts)
    assert play.player.marks[0] == pytest.approx(max(starts) * MS, abs=1000)


def test_more_slots_than_sessions(tmp_path: Path) -> None:
    play = Play(tmp_path, *ONE, load={"concurrency": 8, "sessions": 3})
    assert len(play.records) == 3
    assert play.tally.live_sessions == 0


def test_no_session_starts_after_the_duration(tmp_path: Path) -> None:
    two = (ask("one"), ask("two", after=(0,), history=0, gap_ms=50))
    play = Play(tmp_path, *two, load={"concurrency": 2, "duration": "1s"}, delay=lambda _: 0.17)
    starts = [at for at, exchange in zip(play.sent_ms(), play.wire.sent, strict=True) if exchange.id.endswith("one")]
    assert max(starts) < 1000
    assert play.tally.sessions_done == len(starts)  # what had started was played to its end
    assert play.player.marks[1] >= 1000 * MS
    assert play.ended_ns > 1000 * MS


def slow_to_send(play: Play) -> Any:
    """From now on each send takes 1 ms of the loop's time."""

    def delay(_: Exchange) -> float:
        play.loop._jumping.virtual_ns += MS
        return 0.5

    play.wire._delay = delay
    return asyncio.sleep(0)


def test_the_first_wave_of_a_closed_loop_counts_from_the_planned_start(tmp_path: Path) -> None:
    """Without ramp and warm-up nothing is warm-up, and who is sent late has waited since the start."""
    play = Play(tmp_path, *ONE, load={"concurrency": 32, "sessions": 96}, script=slow_to_send)
    first = sorted(play.records, key=lambda record: record.session)[:32]
    assert {record.intended_ns for record in first} == {0}
    waits = sorted(round((record.sent_ns or 0) / MS) for record in first)
    assert waits == list(range(32))
    assert play.player.marks[0] == 0
    window = window_of(play, Terms(concurrency=32))
    assert window.start_ns == 0 and window.counted.all()
    assert (window.phases == MEASURE).sum() >= 64 and not (window.phases == WARMUP).any()
    assert play.health.read().send_lag_max_s < 0.002  # each slot sent as soon as it could start


def test_sessions_before_the_end_of_a_ramp_are_warmup(tmp_path: Path) -> None:
    play = Play(tmp_path, *ONE, load={"concurrency": 4, "sessions": 40, "ramp": "1s"}, delay=lambda _: 0.3)
    window = window_of(play, Terms(concurrency=4, ramp_s=1.0))
    early = {record.id for record in play.records if record.intended_ns < S}
    assert len(early) > 4
    assert {r.id for r, phase in zip(play.records, window.phases, strict=True) if phase == WARMUP} == early


def test_every_shard_tells_when_the_whole_load_is_full(tmp_path: Path) -> None:
    load = {"concurrency": 5, "sessions": 5, "ramp": "2s"}
    plays = [Play(tmp_path, *ONE, load=load, shard=(k, 2)) for k in range(2)]
    last = plays[0].plan.slots_ns
    assert last is not None
    assert {play.player.marks[0] for play in plays} == {int(last[-1])}


def window_of(play: Play, terms: Terms) -> Window:
    """The measured window of what was played."""
    full_ns, dry_ns = play.player.marks
    report = WorkerReport(worker=0, full_ns=full_ns, dry_ns=dry_ns)
    manifest = Manifest(run_id="r", name="n", seed=1, started_at="", workers=[report])
    table = RecordTable.of(play.records)
    return measured_window(table, session_table(table), manifest, terms)


@pytest.mark.parametrize("shards", [1, 3])
def test_a_timed_warmup_takes_nothing_from_the_count(tmp_path: Path, shards: int) -> None:
    load = {"concurrency": 3, "warmup": "1s", "sessions": 10}
    plays = [Play(tmp_path, *ONE, load=load, delay=lambda _: 0.3, shard=(k, shards)) for k in range(shards)]
    arrivals = [record.intended_ns for play in plays for record in play.records]
    assert sum(at >= S for at in arrivals) == 10
    assert sum(at < S for at in arrivals) == 3 * 4
    assert all(not play.player._feed.more for play in plays)


# -- open loop


def test_open_loop_keeps_its_arrivals_however_slow_the_server(tmp_path: Path) -> None:
    load = {"rate": "50/s", "arrivals": "poisson", "sessions": 200, "timeout": "1h"}
    fast = Play(tmp_path, *ONE, load=load, delay=lambda _: 0.001)
    slow = Play(tmp_path, *ONE, load=load, delay=lambda _: 60.0)
    planned = [offset for offset, _ in fast.plan.shard(0, 1).arrivals()]
    for play in (fast, slow):
        assert [record.intended_ns for record in sorted(play.records, key=lambda r: r.id)] == planned
        late = [record.sent_ns - record.intended_ns for record in play.records if record.sent_ns is not None]
        assert min(late) >= 0 and max(late) < 10  # ns: what a clock of floats rounds
    assert slow.wire.most == 200
    assert fast.player.marks[1] == pytest.approx(planned[-1], abs=10)


def test_what_is_due_late_is_sent_late_and_says_so(tmp_path: Path) -> None:
    async def stall(play: Play) -> None:
        await asyncio.sleep(0.215)
        play.loop._jumping.virtual_ns += 100 * MS  # nothing could run for so long

    load = {"rate": "100/s", "arrivals": "constant", "sessions": 50}
    play = Play(tmp_path, *ONE, load=load, delay=lambda _: 0.001, script=stall)
    planned = [offset for offset, _ in play.plan.shard(0, 1).arrivals()]
    assert sorted(record.intended_ns for record in play.records) == planned
    lags = sorted((record.sent_ns or 0) - record.intended_ns for record in play.records)
    assert 90 * MS < lags[-1] <= 100 * MS
    assert sum(lag > MS for lag in lags) in (9, 10, 11)
    assert play.health.read().send_lag_max_s == pytest.approx(lags[-1] / 1e9)


# -- inside a session


def test_gaps_run_from_the_last_finish(tmp_path: Path) -> None:
    chain = (ask("a"), ask("b", after=(0,), history=0, gap_ms=250), ask("c", after=(1,), history=1))
    play = Play(tmp_path, *chain, load={"concurrency": 1, "sessions": 1})
    assert play.sent_ms() == [0, 350, 450]
    records = by_name(play)
    assert records["b"].after == [records["a"].id] and records["b"].gap_ns == 250 * MS
    assert records["b"].intended_ns == records["a"].end_ns + 250 * MS
    assert records["c"].intended_ns == records["b"].end_ns


FAN = (
    ask("plan"),
    ask("map-1", after=(0,), agent="map", depth=1),
    ask("map-2", after=(0,), agent="map", depth=1, gap_ms=30),
    ask("map-3", after=(0,), agent="map", depth=1),
    ask("reduce", after=(1, 2, 3), joins=(1, 2, 3), gap_ms=20),
)


def test_fan_out_and_join(tmp_path: Path) -> None:
    delays = {"plan": 0.1, "map-1": 0.2, "map-2": 0.3, "map-3": 0.05, "reduce": 0.1}
    play = Play(
        tmp_path,
        *FAN,
        load={"concurrency": 1, "sessions": 2},
        delay=lambda exchange: delays[exchange.id.split("-", 2)[2]],
    )
    assert play.sent_ms() == [0, 100, 100, 130, 450, 550, 650, 650, 680, 1000]
    records = by_name(play)
    assert records["reduce"].after == [records[name].id for name in ("map-1", "map-2", "map-3")]
    assert records["reduce"].intended_ns == records["map-2"].end_ns + 20 * MS
    assert (records["map-1"].agent, records["map-1"].depth) == ("map", 1)
    [last] = prompt(play.wire.sent[4])
    said = [f"said by r-s0000000-map-{number}" for number in (1, 2, 3)]
    assert last["content"].split("\n\n")[:3] == said and len(last["content"].split("\n\n")) == 4
    assert [message["role"] for message in prompt(play.wire.sent[1])] == ["user"]  # a fresh context


def test_a_live_conversation_holds_what_the_server_said(tmp_path: Path) -> None:
    chain = (ask("a"), ask("b", after=(0,), history=0), ask("c", after=(1,), history=1))
    play = Play(tmp_path, *chain, load={"concurrency": 1, "sessions": 1})
    messages = prompt(play.wire.sent[2])
    assert [message["role"] for message in messages] == ["user", "assistant", "user", "assistant", "user"]
    assert messages[1]["content"] == "said by r-s0000000-a"
    assert messages[:1] == prompt(play.wire.sent[0]) and messages[:3] == prompt(play.wire.sent[1])


def test_a_planned_conversation_does_not_depend_on_the_server(tmp_path: Path) -> None:
    chain = (ask("a"), ask("b", after=(0,), history=0))
    load = {"concurrency": 1, "sessions": 1}
    asked = []
    for said in ("yes", "no"):
        play = Play(tmp_path, *chain, load=load, workload={"context": "planned"}, says=lambda _, said=said: said)
        asked.append(prompt(play.wire.sent[1]))
    assert asked[0] == asked[1]
    assert asked[0][1]["role"] == "assistant" and asked[0][1]["content"] not in ("yes", "no", "")


# -- failures


def test_a_failing_request_ends_its_session_and_no_other(tmp_path: Path) -> None:
    chain = (ask("a"), ask("b", after=(0,), history=0), ask("c", after=(1,), history=1))

    def says(exchange: Exchange) -> str:
        return "!connection_reset" if exchange.id == "r-s0000001-b" else "fine"

    play = Play(tmp_path, *chain, load={"concurrency": 2, "sessions": 4}, says=says)
    assert set(by_name(play, 1)) == {"a", "b"}
    assert all(set(by_name(play, other)) == {"a", "b", "c"} for other in (0, 2, 3))
    failed = by_name(play, 1)["b"]
    assert (failed.status, failed.error, failed.error_detail) == ("failed", "connection_reset", "as scripted")
    assert (play.tally.sessions_done, play.tally.sessions_failed) == (3, 1)
    assert play.tally.errors == {"connection_reset": 1}
    assert (play.tally.requests_ok, play.tally.requests_failed) == (10, 1)


def test_a_failed_branch_leaves_the_join_unasked(tmp_path: Path) -> None:
    play = Play(
        tmp_path,
        *FAN,
        load={"concurrency": 1, "sessions": 2},
        says=lambda exchange: "!timeout" if exchange.id == "r-s0000000-map-1" else "fine",
    )
    assert set(by_name(play, 0)) == {"plan", "map-1", "map-2", "map-3"}
    assert set(by_name(play, 1)) == {"plan", "map-1", "map-2", "map-3", "reduce"}
    assert (play.tally.sessions_done, play.tally.sessions_failed) == (1, 1)


def test_an_answer_without_a_token_is_a_failure(tmp_path: Path) -> None:
    play = Play(tmp_path, *ONE, load={"concurrency": 1, "sessions": 2}, says=lambda _: "")
    assert [record.error for record in play.records] == ["empty_answer"] * 2
    assert play.tally.sessions_failed == 2


def test_requests_time_out(tmp_path: Path) -> None:
    play = Play(
        tmp_path,
        *ONE,
        load={"concurrency": 2, "sessions": 4, "timeout": "1s"},
        delay=lambda exchange: 100.0 if exchange.id == "r-s0000000-only" else 0.4,
    )
    record = by_name(play, 0)["only"]
    assert (record.error, record.status) == ("timeout", "failed")
    assert record.error_detail == "no complete answer within 1 s"
    assert 1000 * MS <= record.end_ns - (record.sent_ns or 0) <= 1101 * MS
    assert sum(record.status == "ok" for record in play.records) == 3


# -- quorum


QUORUM = (
    ask("plan"),
    *(ask(f"try-{number}", after=(0,), gap_ms=gap) for number, gap in ((1, 0), (2, 0), (3, 0), (4, 500))),
    ask("pick", after=(1, 2, 3, 4), joins=(1, 2, 3, 4), need=2, cancel_losers=True),
)


@pytest.mark.parametrize("limits", [{}, {"max_in_flight": 3}])
def test_enough_answers_are_enough(tmp_path: Path, limits: dict[str, Any]) -> None:
    delays = {"plan": 0.1, "try-1": 0.3, "try-2": 0.1, "try-3": 9.0, "try-4": 0.1, "pick": 0.1}
    play = Play(
        tmp_path,
        *QUORUM,
        load={"concurrency": 1, "sessions": 2},
        limits=limits,
        delay=lambda exchange: delays[exchange.id.split("-", 2)[2]],
    )
    records = by_name(play)
    assert set(records) == {"plan", "try-1", "try-2", "try-3", "pick"}  # the fourth was never sent
    assert records["pick"].after == [records["try-1"].id, records["try-2"].id]
    assert records["pick"].intended_ns == records["try-1"].end_ns
    assert (records["try-3"].status, records["try-3"].error) == ("cancelled", "cancelled")
    assert records["try-3"].end_ns < records["pick"].end_ns
    said = prompt(next(exchange for exchange in play.wire.sent if exchange.id.endswith("pick")))[0]["content"]
    assert "r-s0000000-try-1" in said and "r-s0000000-try-2" in said and "try-3" not in said
    assert (play.tally.sessions_done, play.tally.sessions_failed, play.tally.live_sessions) == (2, 0, 0)
    assert play.tally.requests_failed == 0 and play.wire.live == 0


# -- the rest


@pytest.mark.parametrize("load", [{"concurrency": 2}, {"rate": "10/s", "arrivals": "constant"}])
def test_warm_up_sessions_are_flagged(tmp_path: Path, load: dict[str, Any]) -> None:
    play = Play(tmp_path, *ONE, load={**load, "warmup": 3, "sessions": 5})
    warm = {record.session for record in play.records if record.phase == "warmup"}
    assert warm == {f"s{index:07d}" for index in range(3)}
    assert len(play.records) == 8


def test_the_phase_of_the_moment(tmp_path: Path) -> None:
    phases: dict[float, tuple[str, int]] = {}

    async def watch(play: Play) -> None:
        for at in (0.5, 1.5, 3.9):
            await asyncio.sleep((play.t0_ns - play.loop.now_ns()) / S + at)
            play.player.count_live()
            phases[at] = (play.ledger.tally.phase, play.ledger.tally.live_requests)

    play = Play(
        tmp_path, *ONE, load={"concurrency": 3, "duration": "3s", "warmup": "1s"}, delay=lambda _: 0.7, script=watch
    )
    assert phases == {0.5: ("warmup", 3), 1.5: ("measure", 3), 3.9: ("measure", 3)}
    assert play.tally.phase == "drain"


@pytest.mark.parametrize("load", [{"concurrency": 4, "sessions": 24}, {"rate": "20/s", "sessions": 24}])
def test_any_number_of_shards_plays_the_same_sessions(tmp_path: Path, load: dict[str, Any]) -> None:
    found = []
    for shards in (1, 2, 4):
        plays = [Play(tmp_path, load=load, workload={"turns": 3, "think": 0}, shard=(k, shards)) for k in range(shards)]
        asked = {exchange.id: exchange.body for play in plays for exchange in play.wire.sent}
        intended = {record.session: record.intended_ns for play in plays for record in play.records}
        found.append((asked, sorted(intended) if "concurrency" in load else intended))
        assert len(asked) == 24 * 3
    assert found[0][0].keys() == found[1][0].keys() == found[2][0].keys()
    first = [{key: body for key, body in asked.items() if key.endswith("turn-1")} for asked, _ in found]
    assert first[0] == first[1] == first[2]


def test_agents_are_asked_the_same_by_any_number_of_shards(tmp_path: Path) -> None:
    """Every prompt, byte for byte: with planned answers nothing depends on who plays it, or when."""
    agents = {"scale": "laptop", "context": "planned"}
    mix = {
        "kind": "mix",
        "of": [{"kind": "react", "steps": 4, **agents}, {"kind": "orchestrator", "rounds": 1, "steps": 2, **agents}],
    }
    found = []
    for shards in (1, 3):
        load = {"concurrency": 3, "sessions": 12}
        plays = [Play(tmp_path, load=load, workload=mix, shard=(k, shards)) for k in range(shards)]
        found.append({exchange.id: exchange.body for play in plays for exchange in play.wire.sent})
    assert found[0] == found[1]
    assert {key.rsplit(".", 1)[-1].partition("-")[0] for key in found[0]} >= {"synthesis", "step"}


def drain(at: float, *stops: bool) -> Callable[[Play], Any]:
    async def script(play: Play) -> None:
        await asyncio.sleep(at)
        for number, drain in enumerate(stops):
            await asyncio.sleep(0.01 * number)
            play.player.stop(drain=drain)

    return script


CHAIN = (ask("a"), ask("b", after=(0,), history=0, gap_ms=500))


@pytest.mark.parametrize(
    "load", [{"concurrency": 3, "sessions": 100}, {"rate": "10/s", "arrivals": "constant", "sessions": 100}]
)
def test_drain_lets_answers_under_way_end(tmp_path: Path, load: dict[str, Any]) -> None:
    play = Play(tmp_path, *CHAIN, load=load, delay=lambda _: 0.4, script=drain(1.15, True))
    assert play.records and all(record.status == "ok" for record in play.records)
    assert max(play.sent_ms()) <= 1150
    assert 1130 * MS < play.ended_ns < 1600 * MS
    assert len(play.records) == len(play.wire.sent) == play.tally.requests_sent
    assert play.tally.live_sessions == 0
    assert play.tally.phase == "drain"


def test_stop_cuts_off_what_is_under_way(tmp_path: Path) -> None:
    play = Play(
        tmp_path, *CHAIN, load={"concurrency": 3, "sessions": 100}, delay=lambda _: 60.0, script=drain(2, True, False)
    )
    assert [record.status for record in play.records] == ["cancelled"] * 3
    assert {record.error for record in play.records} == {"interrupted"}
    assert play.wire.aborted == ["interrupted"] * 3
    assert play.ended_ns < 2 * S
    assert (play.tally.requests_failed, play.tally.errors) == (0, {})


def test_stop_before_anything_was_sent(tmp_path: Path) -> None:
    play = Play(tmp_path, *CHAIN, load={"concurrency": 3, "sessions": 100}, script=drain(0, True))
    assert play.records == [] and play.wire.sent == []


# -- limits


def test_no_more_requests_in_flight_than_allowed(tmp_path: Path) -> None:
    play = Play(
        tmp_path,
        *ONE,
        load={"rate": "100/s", "arrivals": "constant", "sessions": 30},
        limits={"max_in_flight": 4},
    )
    assert play.wire.most == 4
    assert len(play.records) == 30
    assert [exchange.id for exchange in play.wire.sent] == sorted(exchange.id for exchange in play.wire.sent)
    assert play.limiter.waits == 26
    assert max((record.sent_ns or 0) - record.intended_ns for record in play.records) > 300 * MS
    assert play.health.read().send_lag_max_s < 0.001  # a wait for a limit is no lateness of ours
    assert not play.limiter.waited


@pytest.mark.usefixtures("virtual_throttle")
@pytest.mark.parametrize(("a_minute", "each"), [(60, 6), (120, 12), (6, 1)])
def test_no_more_tokens_a_minute_than_allowed(tmp_path: Path, a_minute: int, each: int) -> None:
    node = ask("only", input_tokens=6)  # and 4 of the answer
    load = {"rate": "10/s", "arrivals": "constant", "sessions": 4 if each == 1 else 25}
    play = Play(tmp_path, node, load=load, limits={"tokens_per_minute": a_minute})
    at = play.sent_ms()
    if each == 1:  # one request is more than a minute allows: it takes as long as its tokens need
        assert [round(then / 60_000) for then in at] == [1, 3, 4, 6]
    else:
        minutes = [sum(60_000 * k <= then < 60_000 * (k + 1) for then in at) for k in range(5)]
        assert max(minutes) == each and sum(minutes) == 25
    assert play.limiter.waits == len(at) - (0 if each == 1 else each)


@pytest.mark.usefixtures("virtual_throttle")
def test_tokens_and_requests_a_minute_hold_both(tmp_path: Path) -> None:
    load = {"rate": "10/s", "arrivals": "constant", "sessions": 9}
    for limits in (
        {"tokens_per_minute": 1000, "requests_per_minute": 3},
        {"tokens_per_minute": 30, "requests_per_minute": 9},
    ):
        play = Play(tmp_path, ask("only", input_tokens=6), load=load, limits=limits)
        assert [sum(60_000 * k <= at < 60_000 * (k + 1) for at in play.sent_ms()) for k in range(3)] == [3, 3, 3]


def test_each_shard_has_its_share_of_the_limit(tmp_path: Path) -> None:
    load = {"rate": "100/s", "arrivals": "constant", "sessions": 30}
    play = Play(tmp_path, *ONE, load=load, limits={"max_in_flight": 4}, shard=(1, 2))
    assert play.wire.most == 2


@pytest.mark.usefixtures("virtual_throttle")
def test_no_more_requests_a_minute_than_allowed(tmp_path: Path) -> None:
    play = Play(
        tmp_path,
        *ONE,
        load={"rate": "10/s", "arrivals": "constant", "sessions": 25},
        limits={"requests_per_minute": 10},
    )
    minutes = [sum(60_000 * k <= at < 60_000 * (k + 1) for at in play.sent_ms()) for k in range(3)]
    assert minutes == [10, 10, 5]
    assert len(play.records) == 25


@pytest.mark.usefixtures("virtual_throttle")
@pytest.mark.parametrize("limits", [{"max_in_flight": 1}, {"requests_per_minute": 1}])
def test_stop_drops_what_waits_for_a_limit(tmp_path: Path, limits: dict[str, Any]) -> None:
    load = {"rate": "10/s", "arrivals": "constant", "sessions": 20}
    play = Play(tmp_path, *ONE, load=load, limits=limits, delay=lambda _: 5.0, script=drain(1.0, True))
    assert len(play.records) == len(play.wire.sent) == 1
    assert play.tally.live_sessions == 0


def test_no_event_came_before_its_request_was_sent(tmp_path: Path) -> None:
    """The wall clock was stepped back under the kernel's stamps."""

    class Early(FakeWire):
        def _end(self, exchange: Exchange) -> None:
            exchange.body_stamps = [exchange.sent_ns - 5 * MS for _ in exchange.body_stamps]
            super()._end(exchange)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "FakeWire", Early)
        [record] = Play(tmp_path, *ONE, load={"concurrency": 1, "sessions": 1}).records
    assert record.chunk_us == [0]


def test_exact_output_that_falls_short(tmp_path: Path) -> None:
    class Short(FakeWire):
        def _end(self, exchange: Exchange) -> None:
            usage = {"usage": {"prompt_tokens": 8, "completion_tokens": 3}}
            exchange.bodies.append(b"data: %b\n\n" % json.dumps(usage).encode())
            exchange.body_stamps.append(exchange.sent_ns)
            super()._end(exchange)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "FakeWire", Short)
        play = Play(tmp_path, *CHAIN, load={"concurrency": 1, "sessions": 1}, workload={"exact_output": True})
    [record] = play.records
    assert (record.error, record.status, record.output_tokens) == ("short_answer", "failed", 3)
    assert record.tokens_source == "server"
    assert record.error_detail == "3 tokens where exactly 4 were asked for"


# -- joins that need only some answers


def quorum(need: int, *, cancel: bool = True) -> tuple[Node, ...]:
    """A plan, three branches of two calls each, and a join that needs some of them."""
    branches = []
    for branch in range(3):
        first = 1 + 2 * branch
        branches += [ask(f"b{branch}.1", after=(0,)), ask(f"b{branch}.2", after=(first,), gap_ms=10, history=first)]
    ends = (2, 4, 6)
    join = ask("join", after=ends, joins=ends, need=need, cancel_losers=cancel, history=0)
    return (ask("plan"), *branches, join)


def by_branch(exchange: Exchange) -> float:
    """The branches take 100, 205 and 400 ms a call; all else 100 ms."""
    name = exchange.id.rsplit("-", 1)[-1]
    return (0.1, 0.205, 0.4)[int(name[1])] if name[0] == "b" else 0.1


def test_a_join_starts_when_enough_branches_have_ended_and_the_others_are_cancelled(tmp_path: Path) -> None:
    play = Play(tmp_path, *quorum(2), load={"concurrency": 1, "sessions": 1}, delay=by_branch)
    found = by_name(play)
    assert found["join"].intended_ns == found["b1.2"].end_ns == 520 * MS
    assert [found[name].status for name in ("b0.2", "b1.2", "b2.1", "b2.2")] == ["ok", "ok", "ok", "cancelled"]
    assert (found["b2.2"].error, found["b2.2"].end_ns) == ("cancelled", found["join"].sent_ns)
    assert found["join"].after == [found["b0.2"].id, found["b1.2"].id]
    told = "\n".join(message["content"] for message in prompt(play.wire.sent[-1]))
    assert "said by r-s0000000-b1.2" in told and "b2" not in told
    assert (play.tally.sessions_done, play.tally.sessions_failed, play.tally.requests_failed) == (1, 0, 0)


def test_the_first_answer_is_enough_and_what_was_not_sent_yet_never_is(tmp_path: Path) -> None:
    play = Play(tmp_path, *quorum(1), load={"concurrency": 1, "sessions": 2}, delay=by_branch)
    for session in range(2):
        found = by_name(play, session)
        assert set(found) == {"plan", "b0.1", "b0.2", "b1.1", "b2.1", "join"}
        assert found["b1.1"].status == "ok" and found["b2.1"].status == "cancelled"
        assert found["join"].session_requests == len(found)
    assert play.tally.sessions_done == 2


def test_losers_may_go_on(tmp_path: Path) -> None:
    play = Play(tmp_path, *quorum(1, cancel=False), load={"concurrency": 1, "sessions": 1}, delay=by_branch)
    found = by_name(play)
    assert len(found) == 8 and {record.status for record in found.values()} == {"ok"}
    assert found["join"].sent_ns == found["b0.2"].end_ns < found["b2.2"].end_ns
    assert play.tally.sessions_done == 1


def test_what_waits_for_a_place_is_cancelled_too(tmp_path: Path) -> None:
    play = Play(
        tmp_path,
        *quorum(1),
        load={"concurrency": 1, "sessions": 3},
        limits={"max_in_flight": 2},
        delay=by_branch,
    )
    assert play.tally.sessions_done == 3 and play.tally.requests_failed == 0
    assert all("join" in by_name(play, session) for session in range(3))
    assert play.wire.most == 2


def test_enough_answers_in_spite_of_a_failure(tmp_path: Path) -> None:
    def says(exchange: Exchange) -> str:
        return "!http_500" if exchange.id.endswith("b0.1") else "yes"

    play = Play(tmp_path, *quorum(2), load={"concurrency": 1, "sessions": 1}, delay=by_branch, says=says)
    found = by_name(play)
    assert (found["b0.1"].status, found["join"].status, found["b2.2"].status) == ("failed", "ok", "ok")
    assert play.tally.sessions_failed == 1


def test_planned_context_joins_filler_of_the_planned_length(tmp_path: Path) -> None:
    load = {"concurrency": 1, "sessions": 1}
    first, second = (
        Play(tmp_path, *quorum(2), load=load, delay=by_branch, workload={"context": "planned"}, says=says)
        for says in (lambda _: "one", lambda _: "quite another answer")
    )
    assert [exchange.body for exchange in first.wire.sent] == [exchange.body for exchange in second.wire.sent]
    joined = prompt(first.wire.sent[-1])[-1]["content"].split("\n\n")
    assert [len(part.split()) for part in joined] == [
        4,
        4,
        1,
    ]  # answers of 4 tokens, and 8 less those of a prompt and a message


# -- what goes on after a failure


def test_after_a_failure_nothing_is_started_that_cannot_matter(tmp_path: Path) -> None:
    """b1.1 fails while b0.1 is over and b2.1 under way: the join is lost, and with it the rest of all branches."""

    def says(exchange: Exchange) -> str:
        return "!http_500" if exchange.id == "r-s0000000-b1.1" else "yes"

    whole = tuple(msgspec.structs.replace(node, need=None, cancel_losers=False) for node in quorum(3))
    slow = tuple(msgspec.structs.replace(node, gap_ns=9 * S) if node.name == "b0.2" else node for node in whole)
    play = Play(tmp_path, *slow, load={"concurrency": 1, "sessions": 2}, delay=by_branch, says=says)
    found = by_name(play)
    assert set(found) == {"plan", "b0.1", "b1.1", "b2.1"}  # b0.2 waited for its tool, b2.2 for b2.1
    assert found["b2.1"].status == "ok"  # what was under way may end
    assert by_name(play, 1)["plan"].intended_ns == found["b2.1"].end_ns  # and the slot waits for nothing else
    assert set(by_name(play, 1)) == {node.name for node in slow}
    assert (play.tally.sessions_failed, play.tally.sessions_done, play.tally.live_sessions) == (1, 1, 0)


def test_an_independent_end_is_still_reached_after_a_failure(tmp_path: Path) -> None:
    nodes = (ask("plan"), ask("log", after=(0,)), ask("work", after=(0,)), ask("answer", after=(2,), gap_ms=500))
    play = Play(
        tmp_path,
        *nodes,
        load={"concurrency": 1, "sessions": 1},
        says=lambda exchange: "!http_500" if exchange.id.endswith("log") else "yes",
    )
    assert set(by_name(play)) == {"plan", "log", "work", "answer"}
    assert play.tally.sessions_failed == 1


def test_a_quorum_that_cannot_be_met_any_more_is_given_up(tmp_path: Path) -> None:
    def says(exchange: Exchange) -> str:
        return "!http_500" if exchange.id.endswith(("b0.1", "b1.1")) else "yes"

    play = Play(tmp_path, *quorum(2), load={"concurrency": 1, "sessions": 1}, delay=by_branch, says=says)
    assert set(by_name(play)) == {"plan", "b0.1", "b1.1", "b2.1"}
    assert play.tally.sessions_failed == 1


def test_a_lost_request_that_waits_for_a_place_is_not_sent(tmp_path: Path) -> None:
    play = Play(
        tmp_path,
        *FAN,
        load={"concurrency": 1, "sessions": 2},
        limits={"max_in_flight": 1},
        says=lambda exchange: "!timeout" if exchange.id == "r-s0000000-map-1" else "fine",
    )
    assert set(by_name(play, 0)) == {"plan", "map-1"}
    assert len(by_name(play, 1)) == 5
    assert play.ledger.tally.live_sessions == 0


# -- session metrics of a DAG computed by hand, exact to the nanosecond


def test_the_session_metrics_of_what_was_played_are_those_computed_by_hand(tmp_path: Path) -> None:
    """plan 100; a.1 200, tool 50, a.2 100; b after a tool of 300, 150; c 40; the answer after a tool of 10, 60."""
    nodes = (
        ask("plan"),
        ask("a.1", after=(0,)),
        ask("a.2", after=(1,), history=1, gap_ms=50),
        ask("b", after=(0,), gap_ms=300),
        ask("c", after=(0,)),
        ask("answer", after=(2, 3, 4), joins=(2, 3, 4), gap_ms=10),
    )
    took = {"plan": 0.1, "a.1": 0.2, "a.2": 0.1, "b": 0.15, "c": 0.04, "answer": 0.06}
    play = Play(
        tmp_path,
        *nodes,
        load={"concurrency": 1, "sessions": 2},
        delay=lambda exchange: took[exchange.id.rsplit("-", 1)[-1]],
    )
    told = session_table(RecordTable.of(play.records))
    for session in range(2):
        assert told.makespan[session] == pytest.approx(0.1 + 0.3 + 0.15 + 0.01 + 0.06, abs=1e-9)
        assert told.critical_path[session] == pytest.approx(0.62, abs=1e-9)
        assert told.gap[session] == pytest.approx(0.31, abs=1e-9)
        assert told.prefill[session] == pytest.approx(0.31, abs=1e-9)
        assert told.lag[session] == pytest.approx(0.0, abs=1e-9)
        assert told.joins.straggler[session] == pytest.approx(0.35 - 0.15, abs=1e-9)  # a took 350, b 150, c 40
        assert told.joins.efficiency[session] == pytest.approx(0.54 / (3 * 0.35), abs=1e-9)
    on_path = {record.node for record, critical in zip(play.records, told.critical, strict=True) if critical}
    assert on_path == {"plan", "b", "answer"}
